//! Records for a program that embeds the library.

use sip_authz::SnapshotBuilder;

use crate::error::ConfigErrors;
use crate::options::Options;
use crate::parse;

/// Reads the records of a text into a builder, to which the program can add records of its own.
///
/// Use it if the program adds records, or has the text from elsewhere than a file. For a file use
/// [`load`](crate::load): its errors name the file, it gives warnings, and it wipes the buffer with the
/// passwords. This function does not wipe the text: it belongs to the caller. For warnings, names or options use [`parse`].
///
/// The table `[edge]` has settings of the program `sip-authz`: its form is checked, and it has no effect.
///
/// It computes the hashes of each password, which takes seconds for tens of thousands. In an async program,
/// read the text and build the snapshot on a thread that may block.
///
/// `on_accept` of a domain or trunk has no effect by itself. The program reads it from
/// [`TargetView::on_accept`](sip_authz::TargetView::on_accept) after an accept.
///
/// Build the snapshot for a new [`Authorizer`](sip_authz::Authorizer). When the text changes, read it again
/// and call [`Authorizer::replace`](sip_authz::Authorizer::replace): calls in progress and used nonces
/// stay as they are.
///
/// ```
/// use sip_authz::model::IpAddress;
/// use sip_authz::{Authorizer, Invite, IpAccessControlListSid, IpAddressSid, Transport};
///
/// let text = r#"
/// ip_access_control_lists = [{ name = "offices", addresses = ["192.0.2.0/24"] }]
/// domains = [{ name = "sip.example.com", ip_access_control_lists = ["offices"] }]
/// "#;
/// let authorizer = Authorizer::new(sip_authz_config::read(text)?.build()?)?;
///
/// // a change of the text, and a record of the program for a list of the text
/// let text = text.replace("192.0.2.0/24", "198.51.100.0/24");
/// let offices = IpAccessControlListSid::from_name(&["default", "offices"]);
/// let own = IpAddressSid::from_name(&["own", "203.0.113.7"]);
/// let records = sip_authz_config::read(&text)?;
/// let records = records.ip_address(IpAddress::new(own, offices, "203.0.113.7".parse()?));
/// authorizer.replace(records.build()?);
///
/// for (source, is_admitted) in
///     [("192.0.2.7:5060", false), ("198.51.100.7:5060", true), ("203.0.113.7:5060", true)]
/// {
///     let invite = Invite::new("sip:100@sip.example.com", source.parse()?, Transport::Udp);
///     assert_eq!(authorizer.authorize_now(&invite).is_accept(), is_admitted);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A record without `sid` has a derived SID, by the names in the text:
///
/// | record | SID |
/// |---|---|
/// | account | `AccountSid::from_name(&[name])`; the name is `default` in a text without accounts |
/// | list, domain, trunk | `from_name(&[account, name])` |
/// | address, credential | `from_name(&[account, list, name])` |
///
/// # Errors
///
/// [`ConfigErrors`] with every error in the text, in the order of the text. Records that the program adds
/// are checked by [`SnapshotBuilder::build`].
pub fn read(text: &str) -> Result<SnapshotBuilder, ConfigErrors> {
    parse(text, &Options::new()).map(|config| config.commit.into())
}
