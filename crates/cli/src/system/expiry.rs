//! Reads when a chain of certificates expires (RFC 5280 §4.1.2.5).

use std::time::SystemTime;

use rustls::pki_types::CertificateDer;
use x509_cert::certificate::{CertificateInner, Raw};
use x509_cert::der::Decode as _;

/// The time at which the first certificate of a chain expires. None if a certificate cannot be read.
pub(super) fn earliest(chain: &[CertificateDer<'_>]) -> Option<SystemTime> {
    let times: Option<Vec<_>> = chain.iter().map(|one| not_after(one)).collect();
    times?.into_iter().min()
}

fn not_after(certificate: &[u8]) -> Option<SystemTime> {
    // only the time is used, so a serial number or an encoding that RFC 5280 forbids does not matter
    let read = CertificateInner::<Raw>::from_der(certificate).ok()?;
    let since = read.tbs_certificate().validity().not_after.to_unix_duration();
    SystemTime::UNIX_EPOCH.checked_add(since)
}
