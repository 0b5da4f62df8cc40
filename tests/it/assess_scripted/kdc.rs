//! A key distribution centre that answers requests for a first ticket over UDP (RFC 4120), as it is told to.

use std::net::UdpSocket;

use portcullis::ambient::clock::Clock;
use rasn::types::GeneralizedTime;
use rasn_kerberos as krb;

use super::world::Running;

const KDC_ERR_ETYPE_NOSUPP: i32 = 14;
const KDC_ERR_PREAUTH_REQUIRED: i32 = 25;
const PA_PK_AS_REQ: i32 = 16;
const PA_ENC_TIMESTAMP: i32 = 2;

/// How it answers.
#[derive(Debug, Clone)]
pub struct Kdc {
    /// Encryption types that it uses.
    pub types: Vec<i32>,
    pub demands_proof: bool,
    pub knows_certificates: bool,
    /// Seconds that its clock is ahead.
    pub ahead: i64,
}

impl Kdc {
    /// AES only, with proof, with certificates, on time.
    pub fn hardened() -> Kdc {
        Kdc { types: vec![17, 18], demands_proof: true, knows_certificates: true, ahead: 0 }
    }

    /// Answers on a free port until the value that is returned goes.
    pub fn run(self) -> Running {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let running = Running::datagrams(address);
        let goes_on = running.goes_on();
        std::thread::spawn(move || {
            let mut bytes = [0; 4_096];
            while let Ok((length, client)) = socket.recv_from(&mut bytes) {
                if !goes_on() {
                    return;
                }
                if let Ok(request) = rasn::der::decode::<krb::AsReq>(&bytes[..length]) {
                    let _ = socket.send_to(&self.answer(&request.0.req_body), client);
                }
            }
        });
        running
    }

    fn answer(&self, request: &krb::KdcReqBody) -> Vec<u8> {
        let wanted = request.etype.iter().any(|one| self.types.contains(one));
        match (wanted, self.demands_proof) {
            (false, _) => self.error(request, KDC_ERR_ETYPE_NOSUPP, None),
            (true, true) => {
                let hint = |kind| krb::PaData { r#type: kind, value: Vec::new().into() };
                let mut hints: krb::MethodData = vec![hint(PA_ENC_TIMESTAMP)];
                hints.extend(self.knows_certificates.then(|| hint(PA_PK_AS_REQ)));
                self.error(request, KDC_ERR_PREAUTH_REQUIRED, Some(rasn::der::encode(&hints).unwrap()))
            }
            (true, false) => ticket(request),
        }
    }

    fn error(&self, request: &krb::KdcReqBody, code: i32, data: Option<Vec<u8>>) -> Vec<u8> {
        let now = Clock::system().now() + time::Duration::seconds(self.ahead);
        let text = format!(
            "{:04}{:02}{:02}{:02}{:02}{:02}Z",
            now.year(),
            u8::from(now.month()),
            now.day(),
            now.hour(),
            now.minute(),
            now.second()
        );
        let stime: GeneralizedTime = rasn::der::decode(&[b"\x18\x0f", text.as_bytes()].concat()).unwrap();
        let error = krb::KrbError {
            pvno: 5.into(),
            msg_type: 30.into(),
            ctime: None,
            cusec: None,
            stime: krb::KerberosTime(stime),
            susec: 0.into(),
            error_code: code,
            crealm: None,
            cname: None,
            realm: request.realm.clone(),
            sname: request.sname.clone().unwrap(),
            e_text: None,
            e_data: data.map(Into::into),
        };
        rasn::der::encode(&error).unwrap()
    }
}

/// A first ticket for whoever asks; what it holds nobody can read.
fn ticket(request: &krb::KdcReqBody) -> Vec<u8> {
    let sealed = || krb::EncryptedData { etype: request.etype[0], kvno: Some(1), cipher: vec![0; 32].into() };
    let sname = request.sname.clone().unwrap();
    let ticket = krb::Ticket { tkt_vno: 5.into(), realm: request.realm.clone(), sname, enc_part: sealed() };
    let reply = krb::AsRep(krb::KdcRep {
        pvno: 5.into(),
        msg_type: 11.into(),
        padata: None,
        crealm: request.realm.clone(),
        cname: request.cname.clone().unwrap(),
        ticket,
        enc_part: sealed(),
    });
    rasn::der::encode(&reply).unwrap()
}
