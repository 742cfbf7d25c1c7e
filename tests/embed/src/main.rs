//! A program that uses the library without default features: reads a datagram and prints the
//! decision.

use sip_authz::model::{Account, Domain, IpAccessControlList, IpAddress, Mapping};
use sip_authz::{AccountSid, DomainSid, IpAccessControlListSid, IpAddressSid};
use sip_authz::{Authorizer, Invite, Snapshot, Transport};

const DATAGRAM: &[u8] = b"INVITE sip:100@sip.example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK7\r\nFrom: <sip:a@example.com>;tag=1\r\n\
    To: <sip:100@sip.example.com>\r\nCall-ID: 1@192.0.2.7\r\nCSeq: 1 INVITE\r\n\r\n";

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let account = AccountSid::from_name(&["acme"]);
    let domain = DomainSid::from_name(&["acme", "sip.example.com"]);
    let list = IpAccessControlListSid::from_name(&["acme", "offices"]);
    let office = IpAddressSid::from_name(&["acme", "offices", "north"]);
    let snapshot = Snapshot::builder()
        .account(Account::new(account))
        .domain(Domain::new(domain, account, "sip.example.com".parse()?))
        .ip_access_control_list(IpAccessControlList::new(list, account))
        .ip_address(IpAddress::new(office, list, "192.0.2.0/24".parse()?))
        .mapping(Mapping::IpAccessControlList(domain.into(), list))
        .build()?;
    let authorizer = Authorizer::new(snapshot)?;
    for source in ["192.0.2.7:5060", "198.51.100.7:5060"] {
        let invite = Invite::from_datagram(DATAGRAM, source.parse()?, Transport::Udp)?;
        let decision = authorizer.authorize_now(&invite);
        println!("{source}: {} {}", decision.outcome(), decision.reason());
    }
    Ok(())
}
