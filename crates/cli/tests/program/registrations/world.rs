//! An edge with a PBX behind it, and phones in front.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;

use crate::metrics::SLOW_REFILL;
use crate::support::{PATIENCE, Request, Server, file, header, status};
use crate::tcp::{Connection, SOON};

/// The domain whose calls are forwarded.
pub(super) const DOMAIN: &str = "sip.example.com";
pub(super) const PASSWORD: &str = "correct horse";

/// A UDP socket of a phone or PBX.
pub(super) struct Socket(UdpSocket);

impl Socket {
    pub(super) fn new() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    pub(super) fn send(&self, message: impl AsRef<[u8]>, to: SocketAddr) {
        self.0.send_to(message.as_ref(), to).unwrap();
    }

    /// The next datagram as bytes, and its source.
    pub(super) fn receive_bytes(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = [0; 65_535];
        let (length, source) = self.0.recv_from(&mut buffer).expect("a datagram");
        (buffer[..length].to_vec(), source)
    }

    pub(super) fn receive(&self) -> (String, SocketAddr) {
        let (bytes, source) = self.receive_bytes();
        (String::from_utf8(bytes).unwrap(), source)
    }

    /// The next datagram, if one arrives soon.
    pub(super) fn receive_soon(&self) -> Option<String> {
        self.0.set_read_timeout(Some(SOON)).unwrap();
        let mut buffer = [0; 65_535];
        let received = self.0.recv(&mut buffer);
        self.0.set_read_timeout(Some(PATIENCE)).unwrap();
        Some(String::from_utf8(buffer[..received.ok()?].to_vec()).unwrap())
    }

    pub(super) fn ask(&self, message: &str, to: SocketAddr) -> String {
        self.send(message, to);
        self.receive().0
    }

    /// Whether nothing has arrived.
    pub(super) fn is_quiet(&self) -> bool {
        self.0.set_nonblocking(true).unwrap();
        let received = self.0.recv_from(&mut [0; 9]);
        self.0.set_nonblocking(false).unwrap();
        received.is_err()
    }
}

/// A running edge: its listener for phones, its listener for the PBX, and the PBX over UDP.
pub(super) struct World {
    pub(super) server: Server,
    pub(super) outside: SocketAddr,
    pub(super) inside: SocketAddr,
    pub(super) pbx: Socket,
    config: PathBuf,
    on_accept: String,
}

fn config() -> PathBuf {
    let text = format!(
        "realm = 'sip.example.com'\n\
         [[accounts]]\nname = 'acme'\n\
         [[credential_lists]]\nname = 'phones'\naccount = 'acme'\ncredentials = [\n\
         {{ username = 'alice', password = '{PASSWORD}' }},\n\
         {{ username = 'bob', password = '{PASSWORD}' }},\n]\n\
         [[credential_lists]]\nname = 'callers'\naccount = 'acme'\ncredentials = [\n\
         {{ username = 'carol', password = '{PASSWORD}' }},\n]\n\
         [[domains]]\nname = '{DOMAIN}'\naccount = 'acme'\n\
         registrations = ['phones']\ncredential_lists = ['callers']\n{SLOW_REFILL}\
         [[domains]]\nname = 'answered.example.com'\naccount = 'acme'\n\
         registrations = ['phones']\ncredential_lists = ['callers']\non_accept = 'ok'\n\
         [[domains]]\nname = 'none.example.com'\naccount = 'acme'\n\
         credential_lists = ['phones']\n\
         # a PBX beside that of the domain: on a lower port of its address\n\
         [[domains]]\nname = 'neighbour.example.com'\naccount = 'acme'\n\
         credential_lists = ['callers']\non_accept = 'forward:sip:127.0.0.1:1;transport=tcp'\n"
    );
    file("edge.toml", &text)
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(&[])
    }

    /// Starts with a PBX over UDP and more arguments.
    pub(super) fn with(more: &[&str]) -> Self {
        let pbx = Socket::new();
        let on_accept = format!("forward:sip:{};transport=udp", pbx.address());
        Self::start(pbx, config(), on_accept, more)
    }

    /// Starts with a PBX over TCP.
    pub(super) fn over_tcp() -> (Self, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let on_accept = format!("forward:sip:{};transport=tcp", listener.local_addr().unwrap());
        (Self::start(Socket::new(), config(), on_accept, &[]), listener)
    }

    fn start(pbx: Socket, config: PathBuf, on_accept: String, more: &[&str]) -> Self {
        let keys = config.with_file_name("forward.keys");
        if !keys.exists() {
            let made = crate::support::run(&["keys", "new", keys.to_str().unwrap()]);
            assert!(made.status.success());
        }
        let args = ["--config", config.to_str().unwrap(), "--forward-keys", keys.to_str().unwrap()];
        let inside = ["--sip", "127.0.0.1:0,inside", "--hop-probe", "0", "--on-accept", &on_accept];
        let neighbour = ["--next-hop-allow", "127.0.0.1:1"];
        let server = Server::start(&[&args[..], &inside, &neighbour, more].concat());
        let lines = server.stdout.all();
        let listening = lines.iter().filter(|line| line.ends_with("(udp and tcp)"));
        let addresses: Vec<SocketAddr> =
            listening.map(|line| line.split(' ').nth(4).unwrap().parse().unwrap()).collect();
        let [outside, inside] = addresses[..] else { panic!("{lines:?}") };
        Self { server, outside, inside, pbx, config, on_accept }
    }

    /// Ends the edge, and starts one with the same keys and configuration on other ports.
    pub(super) fn restarted(self) -> Self {
        self.server.end("TERM");
        Self::start(self.pbx, self.config, self.on_accept, &[])
    }

    /// Registers a user over UDP; returns the REGISTER that the PBX got.
    pub(super) fn register(&self, phone: &Socket, user: &str) -> String {
        let request = register(user, &format!("{}", phone.address()));
        let challenge = phone.ask(&request.text(), self.outside);
        assert_eq!(status(&challenge), 401, "{challenge}");
        let request = request.authorized(&challenge, user, PASSWORD);
        phone.send(request.text(), self.outside);
        let (forwarded, from) = self.pbx.receive();
        assert_eq!(from, self.inside);
        self.pbx.send(response(&forwarded, "200 OK", "r"), self.inside);
        let (answer, from) = phone.receive();
        assert_eq!((status(&answer), from), (200, self.outside), "{answer}");
        forwarded
    }

    /// Registers a user over TCP; returns the REGISTER that the PBX got.
    pub(super) fn register_over_tcp(&self, phone: &mut Connection, user: &str) -> String {
        let request = register(user, "127.0.0.1:5060;transport=tcp");
        let request = request.via("SIP/2.0/TCP 127.0.0.1;branch=z9hG4bKt;rport");
        let challenge = phone.ask(&request);
        assert_eq!(status(&challenge), 401, "{challenge}");
        phone.send(request.authorized(&challenge, user, PASSWORD).text());
        let (forwarded, _) = self.pbx.receive();
        self.pbx.send(response(&forwarded, "200 OK", "r"), self.inside);
        assert_eq!(status(&phone.response()), 200);
        forwarded
    }

    /// A request of the PBX to a phone, with these Routes.
    pub(super) fn to_phone(&self, method: &'static str, routes: &[&str]) -> Request {
        let request = Request::new(method, "sip:alice@192.0.2.1:5070");
        let via = format!("SIP/2.0/UDP {};branch=z9hG4bK", self.pbx.address());
        let unique = request.text().split("branch=z9hG4bK").nth(1).unwrap().to_owned();
        let unique = unique.split(';').next().unwrap();
        let request = request
            .via(&format!("{via}p{unique};rport"))
            .header("Contact", &format!("<sip:pbx@{}>", self.pbx.address()));
        routes.iter().fold(request, |request, route| request.header("Route", route))
    }
}

/// A REGISTER of a user with a contact at this address.
pub(super) fn register(user: &str, address: &str) -> Request {
    Request::new("REGISTER", &format!("sip:{DOMAIN}"))
        .to(&format!("<sip:{user}@{DOMAIN}>"))
        .header("Contact", &format!("<sip:{user}@{address}>;expires=60"))
}

/// The values of a header, in order.
pub(super) fn values<'m>(message: &'m str, name: &str) -> Vec<&'m str> {
    let head = message.split("\r\n\r\n").next().unwrap();
    let field = |line: &'m str| line.strip_prefix(name)?.strip_prefix(": ");
    head.split("\r\n").filter_map(field).collect()
}

/// The value of the Path of a REGISTER.
pub(super) fn path(register: &str) -> String {
    let [path] = values(register, "Path")[..] else { panic!("{register}") };
    path.to_owned()
}

/// The token in a Path or Record-Route.
pub(super) fn token(route: &str) -> &str {
    route.strip_prefix("<sip:").unwrap().split('@').next().unwrap()
}

/// The response of a peer to a request, with a To tag.
pub(super) fn response(request: &str, status: &str, tag: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for name in ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"] {
        for value in values(request, name) {
            let adds_tag = name == "To" && !value.contains(";tag=");
            let tag = if adds_tag { format!(";tag={tag}") } else { String::new() };
            text.push_str(&format!("{name}: {value}{tag}\r\n"));
        }
    }
    text + "Contact: <sip:peer@192.0.2.1>\r\nContent-Length: 0\r\n\r\n"
}

/// The next request of the side that sent the first one of a dialog, by the answer to it.
pub(super) fn next(request: &Request, method: &'static str, answer: &str, cseq: u32) -> Request {
    let routes: Vec<_> = values(answer, "Record-Route").into_iter().rev().collect();
    let text = request.text();
    let next = Request::new(method, "sip:peer@192.0.2.1")
        .to(&header(answer, "To").unwrap())
        .call_id(&header(&text, "Call-ID").unwrap())
        .cseq(cseq)
        .via(&header(&text, "Via").unwrap().replace("z9hG4bK", &format!("z9hG4bK{cseq}{method}")));
    routes.iter().fold(next, |next, route| next.header("Route", route))
}

/// The BYE of a phone that answered an INVITE with this tag.
pub(super) fn bye_of_the_phone(invite: &str, transport: &str, tag: &str) -> String {
    let routes = values(invite, "Record-Route").into_iter();
    let routes: String = routes.map(|route| format!("Route: {route}\r\n")).collect();
    format!(
        "BYE sip:pbx@192.0.2.2 SIP/2.0\r\n\
         Via: SIP/2.0/{transport} 127.0.0.1;branch=z9hG4bKbye;rport\r\n{routes}\
         From: {};tag={tag}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 1 BYE\r\nMax-Forwards: 70\r\n\
         Content-Length: 0\r\n\r\n",
        header(invite, "To").unwrap(),
        header(invite, "From").unwrap(),
        header(invite, "Call-ID").unwrap(),
    )
}
