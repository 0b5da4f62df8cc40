//! The first token of a Kerberos logon (RFC 4121 section 4.1) inside SPNEGO (RFC 4178), with flags and channel as chosen.

use rasn::types::{BitString, GeneralizedTime, OctetString};
use rasn_kerberos as krb;
use time::OffsetDateTime;
use time::macros::format_description;

use crate::ambient::chance;
use crate::assess::probes::sasl::cache::Ticket;
use crate::assess::probes::sasl::cipher::encrypt;

/// RFC 4121 section 4.1.1.1.
const REPLAY: u32 = 4;
const SEQUENCE: u32 = 8;
const INTEGRITY: u32 = 32;
/// RFC 4121 section 4.1.1: the checksum that carries flags and channel.
const CHECKSUM: i32 = 0x8003;
/// RFC 4120 section 7.5.1.
const USAGE_AUTHENTICATOR: u32 = 11;
/// 1.2.840.113554.1.2.2 and 1.3.6.1.5.5.2, as DER.
const KERBEROS: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02";
const SPNEGO: &[u8] = b"\x06\x06\x2b\x06\x01\x05\x05\x02";
/// RFC 4121 section 4.1: what follows is an AP-REQ.
const AP_REQ: &[u8] = b"\x01\x00";

/// What a logon offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// That what follows is signed.
    pub signing: bool,
    /// The hash of the channel; zeros when the client says nothing of one.
    pub channel: [u8; 16],
}

/// The token for a GSS-SPNEGO bind at the ticket's service.
pub fn token(ticket: &Ticket, offer: Offer, now: OffsetDateTime) -> Result<Vec<u8>, String> {
    let request = ap_req(ticket, offer, now).ok_or("the Kerberos request cannot be encoded")??;
    let inner = tlv(0x60, &[KERBEROS, AP_REQ, &request].concat());
    let mechanisms = tlv(0xa0, &tlv(0x30, KERBEROS));
    let inner = tlv(0xa2, &tlv(0x04, &inner));
    let first = tlv(0xa0, &tlv(0x30, &[mechanisms, inner].concat()));
    Ok(tlv(0x60, &[SPNEGO, &first].concat()))
}

/// None when something cannot be encoded.
fn ap_req(ticket: &Ticket, offer: Offer, now: OffsetDateTime) -> Option<Result<Vec<u8>, String>> {
    let flags = if offer.signing { INTEGRITY | REPLAY | SEQUENCE } else { 0 };
    let checksum = [&16_u32.to_le_bytes()[..], &offer.channel, &flags.to_le_bytes()].concat();
    let now = now + time::Duration::seconds(i64::from(ticket.clock_offset));
    let written = now.format(format_description!("[year][month][day][hour][minute][second]Z")).ok()?;
    let ctime: GeneralizedTime = rasn::der::decode(&tlv(0x18, written.as_bytes())).ok()?;
    let authenticator = krb::Authenticator {
        authenticator_vno: 5.into(),
        crealm: text(&ticket.realm)?,
        cname: krb::PrincipalName {
            r#type: ticket.name_type,
            string: ticket.name.iter().map(|part| text(part)).collect::<Option<Vec<_>>>()?,
        },
        cksum: Some(krb::Checksum { r#type: CHECKSUM, checksum: OctetString::from(checksum) }),
        cusec: now.microsecond().into(),
        ctime: krb::KerberosTime(ctime),
        subkey: None,
        seq_number: Some(u32::from_be_bytes(chance::bytes().ok()?) >> 2),
        authorization_data: None,
    };
    let plain = rasn::der::encode(&authenticator).ok()?;
    let cipher = match encrypt(ticket.key_type, &ticket.key, USAGE_AUTHENTICATOR, &plain) {
        Ok(cipher) => OctetString::from(cipher),
        Err(reason) => return Some(Err(reason)),
    };
    let request = krb::ApReq {
        pvno: 5.into(),
        msg_type: 14.into(),
        ap_options: krb::ApOptions(BitString::repeat(false, 32)),
        ticket: rasn::der::decode(&ticket.ticket).ok()?,
        authenticator: krb::EncryptedData { etype: ticket.key_type, kvno: None, cipher },
    };
    Some(Ok(rasn::der::encode(&request).ok()?))
}

fn text(value: &str) -> Option<krb::KerberosString> {
    krb::KerberosString::from_bytes(value.as_bytes()).ok()
}

/// DER with a definite length.
fn tlv(tag: u8, contents: &[u8]) -> Vec<u8> {
    let length = contents.len().to_be_bytes();
    let mut out = vec![tag];
    match u8::try_from(contents.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let octets: Vec<u8> = length.into_iter().skip_while(|octet| *octet == 0).collect();
            out.push(0x80 | u8::try_from(octets.len()).unwrap_or(8));
            out.extend(octets);
        }
    }
    out.extend_from_slice(contents);
    out
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;
    use zeroize::Zeroizing;

    use super::*;

    fn ticket() -> Ticket {
        let name = krb::PrincipalName { r#type: 2, string: vec![text("ldap").unwrap()] };
        let ticket = krb::Ticket {
            tkt_vno: 5.into(),
            realm: text("X.TEST").unwrap(),
            sname: name,
            enc_part: krb::EncryptedData {
                etype: 18,
                kvno: Some(1),
                cipher: OctetString::from(vec![1; 300]),
            },
        };
        Ticket {
            realm: "X.TEST".into(),
            name: vec!["svc".into()],
            name_type: 1,
            key_type: 18,
            key: Zeroizing::new(vec![7; 32]),
            ticket: rasn::der::encode(&ticket).unwrap(),
            clock_offset: 0,
        }
    }

    #[test]
    fn a_token_is_spnego_around_kerberos() {
        let offer = Offer { signing: false, channel: [0; 16] };
        let made = token(&ticket(), offer, datetime!(2026-11-01 10:00:00.5 UTC)).unwrap();
        assert_eq!(made[..2], [0x60, 0x82]);
        assert_eq!(usize::from(u16::from_be_bytes([made[2], made[3]])), made.len() - 4);
        let at = made.windows(4).position(|bytes| bytes == [1, 0, 0x6e, 0x82]).unwrap();
        let request: krb::ApReq = rasn::der::decode(&made[at + 2..]).unwrap();
        assert_eq!(rasn::der::encode(&request.ticket).unwrap(), ticket().ticket);
        assert_eq!(request.authenticator.etype, 18);
    }

    #[test]
    fn a_key_of_another_kind_is_told() {
        let offer = Offer { signing: true, channel: [1; 16] };
        let rc4 = Ticket { key_type: 23, ..ticket() };
        let reason = token(&rc4, offer, datetime!(2026-11-01 10:00 UTC)).unwrap_err();
        assert!(reason.contains("encryption type 23"), "{reason}");
        assert!(
            token(&Ticket { ticket: b"none".to_vec(), ..ticket() }, offer, datetime!(2026-11-01 10:00 UTC))
                .is_err()
        );
    }
}
