//! The next hops that the operator allows to accounts.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::on_accept::{ForwardHop, OnAccept, RedirectTarget};
use crate::acl::{Prefix, PrefixError};
use crate::uri::{Host, HostError};

/// A next hop that the operator allows: a host, the hosts below a suffix, or the addresses of an IP
/// prefix, with an optional port.
///
/// | text | allows |
/// |---|---|
/// | `gw.example.net` | this host, on any port |
/// | `.example.net`, `*.example.net` | the hosts below `example.net`, not itself |
/// | `192.0.2.0/24`, `2001:db8::/32`, `[2001:db8::1]` | addresses written as such |
/// | `gw.example.net:5060`, `[2001:db8::/32]:5060` | only with this port in the URI |
///
/// ```
/// use sip_authz::model::{NextHop, NextHopSet, OnAccept};
///
/// let allowed = NextHopSet::new([".example.net".parse::<NextHop>()?]);
/// let redirect: OnAccept = "redirect:sip:{user}@gw.example.net".parse()?;
/// assert!(allowed.check(&redirect).is_ok());
/// let elsewhere: OnAccept = "redirect:gw.example.org".parse()?;
/// assert!(allowed.check(&elsewhere).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "String", into = "String"))]
pub struct NextHop {
    host: HopHost,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HopHost {
    Name(Host),
    /// The hosts that end in a dot and this name.
    Suffix(Host),
    Addresses(Prefix),
}

/// A text that is no next hop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NextHopError {
    /// The host or suffix is invalid.
    #[error("expected a host, `.suffix` or IP prefix, with an optional port: {0}")]
    Host(HostError),
    /// The IP prefix is invalid.
    #[error(transparent)]
    Prefix(PrefixError),
    /// The port is no number from 1 to 65535.
    #[error("expected a port from 1 to 65535")]
    Port,
    /// A URI instead of its host.
    #[error("expected a host, `.suffix` or IP prefix without `sip:`")]
    Scheme,
    /// A bracket without its counterpart.
    #[error("expected an IPv6 address or prefix in brackets, such as `[2001:db8::1]:5060`")]
    Brackets,
}

/// The next hops that accounts can redirect or forward calls to. Empty by default.
#[derive(Clone, Debug, Default)]
pub struct NextHopSet {
    hops: Vec<NextHop>,
    default: Option<OnAccept>,
}

/// A target or hop that the operator does not allow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NextHopRefusal {
    /// The host is not in the set.
    #[error("the next hop `{0}` is not allowed")]
    NotAllowed(String),
    /// A placeholder behind the user part, so that the caller could choose the next hop.
    #[error("`{{{0}}}` is allowed in the user part only")]
    Placeholder(&'static str),
    /// A header, or a parameter other than `transport`, `user` and `lr`. It could name another next hop,
    /// as `maddr` does (RFC 3261 §19.1.1).
    #[error(
        "only the parameters `transport`, `user` and `lr` are allowed, and no URI headers: others can \
         name another next hop"
    )]
    OverridesHost,
}

impl NextHopSet {
    /// A set of these next hops.
    #[must_use]
    pub fn new(hops: impl IntoIterator<Item = NextHop>) -> Self {
        Self { hops: hops.into_iter().collect(), default: None }
    }

    /// Also allows the targets of `default`, each with exactly its template, or its hops, each with its
    /// port and transport. This adds no host: an account cannot use it with another user part.
    #[must_use]
    pub fn with_default(mut self, default: OnAccept) -> Self {
        self.default = Some(default);
        self
    }

    /// Adds next hops.
    pub fn extend(&mut self, hops: impl IntoIterator<Item = NextHop>) {
        self.hops.extend(hops);
    }

    /// Checks that all targets or hops of an answer are allowed. `ok` always is. Allocates only for an
    /// error.
    ///
    /// # Errors
    ///
    /// [`NextHopRefusal`] for the first target or hop that is not allowed.
    pub fn check(&self, on_accept: &OnAccept) -> Result<(), NextHopRefusal> {
        match on_accept {
            OnAccept::Ok => Ok(()),
            OnAccept::Redirect(redirect) => {
                redirect.targets().iter().try_for_each(|target| self.check_target(target))
            }
            OnAccept::Forward(forward) => {
                forward.hops().iter().try_for_each(|hop| self.check_hop(hop))
            }
        }
    }

    fn check_target(&self, target: &RedirectTarget) -> Result<(), NextHopRefusal> {
        let template = target.template();
        if let Some(OnAccept::Redirect(default)) = &self.default
            && default.targets().iter().any(|default| default.template() == template)
        {
            return Ok(());
        }
        if let Some(name) = template.placeholder {
            return Err(NextHopRefusal::Placeholder(name));
        }
        if template.overrides_host {
            return Err(NextHopRefusal::OverridesHost);
        }
        let host = template.host.as_ref().map(Host::as_str).unwrap_or_default();
        self.check_host(host, template.port)
    }

    fn check_hop(&self, hop: &ForwardHop) -> Result<(), NextHopRefusal> {
        if let Some(OnAccept::Forward(default)) = &self.default
            && default.hops().iter().any(|default| default.is_same_place(hop))
        {
            return Ok(());
        }
        self.check_host(hop.host().as_str(), hop.port())
    }

    fn check_host(&self, host: &str, port: Option<u16>) -> Result<(), NextHopRefusal> {
        if self.hops.iter().any(|hop| hop.covers(host, port)) {
            return Ok(());
        }
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        Err(NextHopRefusal::NotAllowed(format!("{host}{port}")))
    }
}

impl NextHop {
    /// Whether this covers a canonical host and the port of its URI.
    fn covers(&self, host: &str, port: Option<u16>) -> bool {
        if self.port.is_some() && self.port != port {
            return false;
        }
        match &self.host {
            HopHost::Name(name) => name.as_str() == host,
            HopHost::Suffix(suffix) => host
                .strip_suffix(suffix.as_str())
                .and_then(|below| below.strip_suffix('.'))
                .is_some_and(|below| !below.is_empty()),
            HopHost::Addresses(prefix) => {
                address(host).is_some_and(|address| prefix.contains(address))
            }
        }
    }
}

/// The address of a host that is one, without brackets.
fn address(host: &str) -> Option<IpAddr> {
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(host).parse().ok()
}

impl FromStr for NextHop {
    type Err = NextHopError;

    fn from_str(text: &str) -> Result<Self, NextHopError> {
        let scheme = text.split_once(':').filter(|(scheme, rest)| {
            let is_scheme = ["sip", "sips"].iter().any(|name| name.eq_ignore_ascii_case(scheme));
            // `sip:5060` is a host with a port
            is_scheme && rest.bytes().any(|byte| !byte.is_ascii_digit())
        });
        if scheme.is_some() {
            return Err(NextHopError::Scheme);
        }
        if text.starts_with('[') != text.contains(']') {
            return Err(NextHopError::Brackets);
        }
        let is_bare_v6 = !text.starts_with('[') && text.matches(':').count() > 1;
        let (host, port) = match text.rsplit_once(':') {
            // the colon is inside the brackets, or in an address without them
            _ if is_bare_v6 || text.ends_with(']') => (text, None),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let port = port.map(|digits| {
            let is_plain = digits.len() <= 5 && digits.bytes().all(|byte| byte.is_ascii_digit());
            let port = digits.parse::<u16>().ok().filter(|port| is_plain && *port > 0);
            port.ok_or(NextHopError::Port)
        });
        let port = port.transpose()?;
        let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let is_prefix =
            inner.contains('/') || inner.contains(':') || inner.parse::<IpAddr>().is_ok();
        let host = if is_prefix {
            HopHost::Addresses(inner.parse().map_err(NextHopError::Prefix)?)
        } else if let Some(suffix) = host.strip_prefix("*.").or_else(|| host.strip_prefix('.')) {
            HopHost::Suffix(Host::parse(suffix).map_err(NextHopError::Host)?)
        } else {
            HopHost::Name(Host::parse(host).map_err(NextHopError::Host)?)
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.host, self.port) {
            (HopHost::Name(name), _) => f.write_str(name.as_str())?,
            (HopHost::Suffix(suffix), _) => write!(f, ".{}", suffix.as_str())?,
            (HopHost::Addresses(prefix), Some(_)) if prefix.addr().is_ipv6() => {
                write!(f, "[{prefix}]")?;
            }
            (HopHost::Addresses(prefix), _) => prefix.fmt(f)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl TryFrom<String> for NextHop {
    type Error = NextHopError;

    fn try_from(text: String) -> Result<Self, NextHopError> {
        text.parse()
    }
}

impl From<NextHop> for String {
    fn from(hop: NextHop) -> Self {
        hop.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(hops: &[&str]) -> NextHopSet {
        NextHopSet::new(hops.iter().map(|hop| hop.parse::<NextHop>().unwrap()))
    }

    fn check(hops: &[&str], target: &str) -> Result<(), String> {
        let on_accept: OnAccept = format!("redirect:{target}").parse().unwrap();
        set(hops).check(&on_accept).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn hosts_suffixes_prefixes_and_ports() {
        for (hop, allowed, refused) in [
            (
                "GW.example.net.",
                &["gw.Example.NET", "gw.example.net.", "sips:gw.example.net:5061"][..],
                &["a.gw.example.net", "example.net", "gw.example.net.org", "xgw.example.net"][..],
            ),
            (
                ".example.net",
                &["gw.example.net", "a.b.example.net:1"],
                &["example.net", "xexample.net"],
            ),
            ("*.example.net", &["gw.example.net"], &["example.net", "example.net.org"]),
            (
                "gw.example.net:5080",
                &["gw.example.net:5080"],
                &["gw.example.net", "gw.example.net:5081"],
            ),
            (
                "192.0.2.0/24",
                &["192.0.2.7", "192.0.2.7:99", "[::ffff:192.0.2.7]"],
                &["192.0.3.7", "192.0.2.7.example"],
            ),
            ("192.0.2.0/24:5060", &["192.0.2.7:5060"], &["192.0.2.7"]),
            ("192.0.2.7", &["192.0.2.7"], &["192.0.2.8"]),
            ("2001:db8::/32", &["[2001:DB8:0::1]", "[2001:db8::1]:5060"], &["[2001:db9::1]"]),
            ("[2001:db8::1]", &["[2001:db8::1]:5060"], &["[2001:db8::2]"]),
            ("[2001:db8::/32]:5060", &["[2001:db8::1]:5060"], &["[2001:db8::1]"]),
        ] {
            for target in allowed {
                assert_eq!(check(&[hop], target), Ok(()), "{hop} {target}");
                let with_user = target.strip_prefix("sips:").unwrap_or(target);
                assert_eq!(
                    check(&[hop], &format!("sip:9{{user}}@{with_user}")),
                    Ok(()),
                    "{target}"
                );
            }
            for target in refused {
                assert!(check(&[hop], target).is_err(), "{hop} {target}");
            }
            let parsed: NextHop = hop.parse().unwrap();
            assert_eq!(parsed.to_string().parse(), Ok(parsed), "{hop}");
        }
        for wrong in
            ["", ".", "*", "a b", "gw:", "gw:0", "gw:65536", "gw:x", "192.0.2.1/24", "1.2", "[::1"]
        {
            assert!(wrong.parse::<NextHop>().is_err(), "{wrong}");
        }
        for uri in ["sip:gw.example", "SIPS:192.0.2.1:5061", "sip:a@gw.example", "sip:[::1]"] {
            assert_eq!(uri.parse::<NextHop>(), Err(NextHopError::Scheme), "{uri}");
        }
        for wrong in ["[::1", "::1]", "[::1:5060", "gw]:5060"] {
            assert_eq!(wrong.parse::<NextHop>(), Err(NextHopError::Brackets), "{wrong}");
        }
        assert!("sip:5060".parse::<NextHop>().is_ok(), "a host with this name");
    }

    #[test]
    fn nothing_is_allowed_by_default_and_every_target_must_be() {
        assert_eq!(NextHopSet::default().check(&OnAccept::Ok), Ok(()));
        let error = check(&[], "gw.example.net:5060").unwrap_err();
        assert_eq!(error, "the next hop `gw.example.net:5060` is not allowed");
        assert!(check(&["a.example"], "a.example,b.example").is_err());
        assert!(check(&["a.example", ".b.example"], "a.example,x.b.example;q=0.1").is_ok());
    }

    #[test]
    fn what_could_name_another_next_hop_is_refused() {
        for target in [
            "sip:1@gw;maddr=192.0.2.1",
            "gw;MADDR=192.0.2.1",
            "gw;m%61ddr=192.0.2.1",
            "gw;maddr%20=192.0.2.1",
            "gw;transport=tcp;maddr=192.0.2.1",
            // by these Kamailio and FreeSWITCH route
            "gw;alias=192.0.2.1~5060~1",
            "sip:{user}@gw;fs_path=sip:192.0.2.1",
            "gw;received=sip:192.0.2.1",
            "gw;Route=evil",
            "gw;x",
            "gw;tr%61nsport=tcp",
            "sip:{user}@gw;lr?x=y",
            "sip:1@gw?Route=%3Csip:evil%3E",
            "sip:{user}@{host}",
            "sip:{user}@{domain}",
            "sip:{user}@{account}.gw",
            "sip:{user}@gw;x={account}",
        ] {
            assert!(check(&["gw", ".gw", "0.0.0.0/0"], target).is_err(), "{target}");
        }
        for target in [
            "sip:{account}{user};maddr=x@gw;transport=tcp;lr",
            "sip:{user}@gw;Transport=TLS;user=phone;q=0.5",
            "gw;lr=on",
        ] {
            assert_eq!(check(&["gw"], target), Ok(()), "{target}");
        }
    }

    #[test]
    fn every_hop_of_a_forward_must_be_allowed() {
        let check = |allowed: &[&str], hops: &str| {
            let on_accept: OnAccept = format!("forward:{hops}").parse().unwrap();
            set(allowed).check(&on_accept).map_err(|refusal| refusal.to_string())
        };
        for (allowed, hops) in [
            (&["pbx.example.net"][..], "sip:PBX.example.net."),
            (&["pbx.example.net"], "sips:pbx.example.net:5061;weight=2,pbx.example.net:5070"),
            (&[".example.net"], "a.example.net,b.example.net;priority=1;lr"),
            (&["192.0.2.0/24", "2001:db8::/32"], "192.0.2.7;transport=tcp,sip:[2001:db8::1]"),
            (&["192.0.2.0/24"], "[::ffff:192.0.2.7]"),
            (&["pbx:5080"], "pbx:5080"),
        ] {
            assert_eq!(check(allowed, hops), Ok(()), "{hops}");
        }
        for (allowed, hops, refused) in [
            (&[][..], "pbx", "pbx"),
            (&["pbx"], "sip:pbx,sip:other:5070;priority=1", "other:5070"),
            (&["a", "c"], "a,b,c", "b"),
            // the port must be in the text, also if it is the default one
            (&["pbx:5060"], "pbx", "pbx"),
            (&["pbx:5061"], "sips:pbx", "pbx"),
            (&["pbx:5080"], "pbx:5081", "pbx:5081"),
            (&[".example.net"], "example.net", "example.net"),
            (&["192.0.2.0/24"], "192.0.3.7", "192.0.3.7"),
        ] {
            let message = format!("the next hop `{refused}` is not allowed");
            assert_eq!(check(allowed, hops), Err(message), "{hops}");
        }
    }

    #[test]
    fn a_hop_of_the_default_is_allowed_with_its_own_port_and_transport_only() {
        let default = "forward:pbx1;weight=9,sips:pbx2:5071".parse().unwrap();
        let set = NextHopSet::default().with_default(default);
        let check = |text: &str| set.check(&text.parse().unwrap()).is_ok();
        for allowed in [
            "forward:pbx1",
            "forward:sip:PBX1:5060;priority=7",
            "forward:pbx2:5071;transport=tls,pbx1;weight=3",
        ] {
            assert!(check(allowed), "{allowed}");
        }
        for refused in [
            "forward:pbx1:5061",
            "forward:pbx1;transport=tcp",
            "forward:pbx1;transport=udp",
            "forward:pbx2:5071",
            "forward:sips:pbx2",
            "forward:pbx1,pbx3",
            // a redirect would show the host to callers
            "redirect:pbx1",
            "redirect:sips:pbx2:5071",
        ] {
            assert!(!check(refused), "{refused}");
        }
        let redirect = NextHopSet::default().with_default("redirect:gw".parse().unwrap());
        assert!(redirect.check(&"forward:gw".parse().unwrap()).is_err());
    }

    #[test]
    fn the_default_is_allowed_with_its_own_template_only() {
        let default: OnAccept =
            "redirect:sip:{account}-{user}@{host},gw;maddr=192.0.2.1".parse().unwrap();
        let set = NextHopSet::default().with_default(default);
        let check = |target: &str| set.check(&format!("redirect:{target}").parse().unwrap());
        assert!(check("sip:{account}-{user}@{host}").is_ok());
        assert!(check("sip:{user}@gw;maddr=192.0.2.1;q=0.3").is_ok());
        assert!(check("sip:other-{user}@{host}").is_err() && check("gw").is_err());
    }
}
