//! A DNS server for tests: it answers questions for SRV records from a table.

use std::net::SocketAddr;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

const TYPE_SRV: [u8; 2] = [0, 33];
const CLASS_IN: [u8; 2] = [0, 1];
/// It is an answer, and to a question that may be asked on.
const FLAGS: [u8; 2] = [0x81, 0x80];
const NO_SUCH_NAME: [u8; 2] = [0x81, 0x83];

/// Serves until it is dropped.
pub struct DnsServer {
    pub address: SocketAddr,
    task: JoinHandle<()>,
}

impl DnsServer {
    /// `records`: a name, and the ports of `localhost` that are its servers'.
    pub async fn started(records: Vec<(String, Vec<u16>)>) -> DnsServer {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let address = socket.local_addr().expect("it is bound");
        let task = tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                let answer = answer(&question[..length], &records);
                // Whoever asked may be gone.
                let _ = socket.send_to(&answer, from).await;
            }
        });
        DnsServer { address, task }
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn answer(question: &[u8], records: &[(String, Vec<u16>)]) -> Vec<u8> {
    let (name, end) = name(question, 12);
    let kind = &question[end..end + 2];
    let found = records
        .iter()
        .find(|(known, _)| name.eq_ignore_ascii_case(known));
    let ports = match found {
        Some((_, ports)) if kind == TYPE_SRV => &ports[..],
        _ => &[],
    };
    let flags = if found.is_some() { FLAGS } else { NO_SUCH_NAME };
    let count = u16::try_from(ports.len()).expect("few");
    let mut bytes = question[..2].to_vec();
    bytes.extend(flags);
    bytes.extend([0, 1]);
    bytes.extend(count.to_be_bytes());
    bytes.extend([0, 0, 0, 0]);
    bytes.extend(&question[12..end + 4]);
    for port in ports {
        let mut data = vec![0, 1, 0, 1];
        data.extend(port.to_be_bytes());
        data.extend(b"\x09localhost\x00");
        // The name is the question's.
        bytes.extend([0xc0, 12]);
        bytes.extend(TYPE_SRV);
        bytes.extend(CLASS_IN);
        bytes.extend(60_u32.to_be_bytes());
        bytes.extend(u16::try_from(data.len()).expect("short").to_be_bytes());
        bytes.extend(data);
    }
    bytes
}

/// The name at this place, and where it ends.
fn name(bytes: &[u8], mut at: usize) -> (String, usize) {
    let mut labels = Vec::new();
    while bytes[at] != 0 {
        let length = usize::from(bytes[at]);
        labels.push(String::from_utf8_lossy(&bytes[at + 1..at + 1 + length]).into_owned());
        at += 1 + length;
    }
    (labels.join("."), at + 1)
}
