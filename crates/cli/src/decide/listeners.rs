//! The listeners of the decision service.

use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;

use super::access::Access;
use super::connection::{self, Entry};
use super::http;
use super::shared::Shared;
#[cfg(unix)]
use super::unix;
use crate::args::{DecideAddress, DecideArgs};
use crate::sip::sockets;
use crate::system::output::{ProgramError, say};

/// The wait after a failed accept, for example while there are no file descriptors.
const PAUSE: Duration = Duration::from_millis(10);

/// The open sockets of the service, and who may connect to them.
pub(crate) struct OpenListeners {
    access: Access,
    sockets: Vec<Socket>,
    files: Files,
}

/// The files of Unix sockets, which are removed on drop.
#[derive(Default)]
pub(super) struct Files {
    #[cfg(unix)]
    _all: Vec<unix::SocketFile>,
}

/// A socket that listens.
pub(super) enum Socket {
    #[cfg(unix)]
    Unix(std::os::unix::net::UnixListener, String),
    Tcp(TcpListener, SocketAddr),
    Http(TcpListener, SocketAddr),
}

/// The task of a listener.
type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

impl OpenListeners {
    /// Opens the sockets that the options name.
    pub(crate) fn open(args: &DecideArgs) -> Result<Self, ProgramError> {
        let access = Access::of(args)?;
        let (mut sockets, mut files) = (Vec::new(), Files::default());
        #[cfg(unix)]
        let group = args.decide_group.as_deref().map(unix::group).transpose()?;
        for address in &args.decide {
            sockets.push(match address {
                #[cfg(unix)]
                DecideAddress::Unix(path) => {
                    let (listener, file) = unix::listen(path, &access.users, group)?;
                    files._all.push(file);
                    Socket::Unix(listener, address.to_string())
                }
                #[cfg(not(unix))]
                DecideAddress::Unix(_) => {
                    let why = "this system has no Unix sockets";
                    return Err(ProgramError::Setup(format!("--decide {address}: {why}")));
                }
                DecideAddress::Tcp(address) => {
                    let (listener, local) = sockets::listen(*address, "decide")?;
                    Socket::Tcp(listener, local)
                }
                DecideAddress::Http(address) => {
                    let (listener, local) = sockets::listen(*address, "decide")?;
                    Socket::Http(listener, local)
                }
            });
        }
        #[cfg(not(unix))]
        let _ = &mut files;
        Ok(Self { access, sockets, files })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Prints the addresses.
    pub(crate) fn announce(&self) {
        for socket in &self.sockets {
            match socket {
                #[cfg(unix)]
                Socket::Unix(_, place) => {
                    let users: Vec<_> = self.access.users.iter().map(u32::to_string).collect();
                    let users = users.join(", ");
                    say(format_args!("listening for decisions on {place} (for user ids {users})"));
                }
                Socket::Tcp(_, local) => {
                    say(format_args!("listening for decisions on tcp:{local}"))
                }
                Socket::Http(_, local) => {
                    say(format_args!("listening for decisions on http:{local}"))
                }
            }
        }
    }

    pub(super) fn split(self) -> (Access, Vec<Socket>, Files) {
        (self.access, self.sockets, self.files)
    }
}

impl Socket {
    /// Accepts connections until the end of the program, each with a task of its own. Needs the context
    /// of a runtime.
    pub(super) fn serve(self, shared: Arc<Shared>) -> std::io::Result<Task> {
        match self {
            #[cfg(unix)]
            Self::Unix(listener, place) => {
                let listener = tokio::net::UnixListener::from_std(listener)?;
                let place: Arc<str> = place.into();
                Ok(Box::pin(until_the_end(Arc::clone(&shared), async move {
                    loop {
                        let Ok((stream, _)) = listener.accept().await else {
                            tokio::time::sleep(PAUSE).await;
                            continue;
                        };
                        // before a byte is read
                        let user = stream.peer_cred().ok().map(|peer| peer.uid());
                        let is_allowed =
                            user.is_some_and(|user| shared.access.users.contains(&user));
                        let entry = if is_allowed { Entry::Allowed } else { Entry::Refused(user) };
                        let (shared, place) = (Arc::clone(&shared), Arc::clone(&place));
                        tokio::spawn(connection::serve(shared, stream, entry, place));
                    }
                })))
            }
            Self::Tcp(listener, local) => {
                let place: Arc<str> = format!("tcp:{local}").into();
                accept(listener, Arc::clone(&shared), move |stream| {
                    let (shared, place) = (Arc::clone(&shared), Arc::clone(&place));
                    connection::serve(shared, stream, Entry::Token, place)
                })
            }
            Self::Http(listener, local) => {
                let place: Arc<str> = format!("http:{local}").into();
                accept(listener, Arc::clone(&shared), move |stream| {
                    http::serve(Arc::clone(&shared), stream, Arc::clone(&place))
                })
            }
        }
    }
}

/// Accepts connections over TCP until the end of the program, each with a task of its own.
fn accept<S: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    shared: Arc<Shared>,
    serve: impl Fn(TcpStream) -> S + Send + 'static,
) -> std::io::Result<Task> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    Ok(Box::pin(until_the_end(shared, async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            // answers are written whole, so Nagle's algorithm would only delay them
            let _ = stream.set_nodelay(true);
            tokio::spawn(serve(stream));
        }
    })))
}

/// Runs a task until the program ends.
async fn until_the_end(shared: Arc<Shared>, task: impl Future<Output = ()>) {
    let mut ended = shared.ended.clone();
    tokio::select! {
        () = task => {}
        // fails only if the program is gone
        _ = ended.wait_for(|ended| *ended) => {}
    }
}
