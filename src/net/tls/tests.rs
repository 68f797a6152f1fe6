use super::*;
use crate::address::Address;
use crate::batch::BatchedStream;
use crate::dial::Dialer;
use crate::limit::ConnectionLimit;
use crate::listen::{Listener, LocalAddress};
use crate::stream::Stream;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, RevokedCertParams, SanType, SerialNumber,
};
use std::fs;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A folder of certificates, signed by `ca.pem` and by `other.pem`.
struct Folder {
    folder: tempfile::TempDir,
    authorities: [Issuer<'static, KeyPair>; 2],
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(folder: &Path, file: &str) -> Issuer<'static, KeyPair> {
    let mut params = params(file);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    fs::write(folder.join(file), certificate.pem()).unwrap();
    Issuer::new(params, key)
}

impl Folder {
    fn new() -> Folder {
        let folder = tempfile::tempdir().unwrap();
        let authorities = ["ca.pem", "other.pem"].map(|file| authority(folder.path(), file));
        Folder {
            folder,
            authorities,
        }
    }

    fn at(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn pair(&self, name: &str) -> PairFiles {
        PairFiles {
            cert: self.at(&format!("{name}.pem")),
            key: self.at(&format!("{name}.key")),
        }
    }

    fn write(&self, name: &str, certificate: &rcgen::Certificate, key: &KeyPair) -> PairFiles {
        let pair = self.pair(name);
        fs::write(&pair.cert, certificate.pem()).unwrap();
        fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }

    /// A certificate of this machine and of the host `a.test`, signed by an authority.
    fn signed(
        &self,
        name: &str,
        by: usize,
        change: impl FnOnce(&mut CertificateParams),
    ) -> PairFiles {
        let mut params = params(name);
        let loopback = SanType::IpAddress("127.0.0.1".parse().unwrap());
        let host = SanType::DnsName("a.test".try_into().unwrap());
        params.subject_alt_names = vec![loopback, host];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.authorities[by]).unwrap();
        self.write(name, &certificate, &key)
    }

    fn good(&self, name: &str) -> PairFiles {
        self.signed(name, 0, |_| {})
    }

    fn server(&self, pair: PairFiles, clients: Option<ClientRules>) -> ServerFiles {
        ServerFiles {
            pair,
            clients,
            settings: TlsSettings::default(),
        }
    }

    fn rules(&self) -> ClientRules {
        ClientRules {
            trusted_ca: Some(self.at("ca.pem")),
            ..ClientRules::default()
        }
    }

    fn client(&self, pair: Option<PairFiles>) -> ClientFiles {
        ClientFiles {
            pair,
            trusted_ca: Some(self.at("ca.pem")),
            ..ClientFiles::default()
        }
    }
}

struct Served {
    listener: Listener,
    limit: ConnectionLimit,
}

impl Served {
    fn new(security: Security) -> Served {
        let listener = Listener::bind(&Address::tcp("127.0.0.1:0"), false).unwrap();
        Served {
            listener: listener.with_security(security),
            limit: ConnectionLimit::new("test", 10),
        }
    }

    fn tls(files: ServerFiles) -> Served {
        Served::new(Security::Tls(Arc::new(TlsServer::open(files).unwrap())))
    }

    fn address(&self) -> SocketAddr {
        match self.listener.address() {
            LocalAddress::Tcp(address) => *address,
            LocalAddress::Unix(path) => panic!("{}", path.display()),
        }
    }

    async fn accept(&self) -> Result<Secured, HandshakeError> {
        let (stream, _permit) = self.listener.accept(&self.limit).await;
        self.listener.security().open(stream).await
    }

    /// What the server and a client make of each other. Both say a byte, so that the client hears
    /// of what TLS 1.3 tells it after its own handshake.
    async fn meets(
        &self,
        client: &Arc<TlsClient>,
    ) -> (Result<PeerName, String>, Result<(), String>) {
        let serves = async {
            let mut secured = self.accept().await.map_err(|error| error.to_string())?;
            secured.stream.write_all(b"x").await.unwrap();
            secured.stream.flush().await.unwrap();
            Ok(secured.peer.unwrap_or(PeerName { common_name: None }))
        };
        let calls = async {
            let address = Address {
                is_tls: true,
                ..Address::tcp(self.address().to_string())
            };
            let dialer = Dialer::within(Duration::from_secs(20)).with_tls(Some(client.clone()));
            let mut stream = dialer
                .dial(&address)
                .await
                .map_err(|error| error.to_string())?;
            let read = stream.read_exact(&mut [0]).await;
            read.map(drop).map_err(|error| error.to_string())
        };
        tokio::join!(serves, calls)
    }
}

async fn meet(
    server: ServerFiles,
    client: ClientFiles,
) -> (Result<PeerName, String>, Result<(), String>) {
    let client = Arc::new(TlsClient::open(client).unwrap());
    Served::tls(server).meets(&client).await
}

fn name(text: &str) -> PeerName {
    PeerName {
        common_name: Some(Arc::from(text)),
    }
}

#[track_caller]
fn says<T: std::fmt::Debug>(found: &Result<T, String>, words: &[&str]) {
    let text = found.as_ref().unwrap_err();
    for word in words {
        assert!(text.contains(word), "{text:?} lacks {word:?}");
    }
}

#[tokio::test]
async fn a_client_is_known_by_its_certificate() {
    let folder = Folder::new();
    let server = folder.server(folder.good("s"), Some(folder.rules()));
    let client = folder.client(Some(folder.good("c")));
    assert_eq!(meet(server, client).await, (Ok(name("c")), Ok(())));
    let open = folder.server(folder.pair("s"), None);
    let (met, heard) = meet(open, folder.client(None)).await;
    assert_eq!((met.unwrap().common_name, heard), (None, Ok(())));
}

#[tokio::test]
async fn clients_that_are_refused_and_the_log_are_told_why() {
    let folder = Folder::new();
    let ca = folder.at("ca.pem").display().to_string();
    let server = || folder.server(folder.pair("s"), Some(folder.rules()));
    folder.good("s");
    let (met, heard) = meet(server(), folder.client(None)).await;
    says(&met, &["client didn't provide a certificate", &ca]);
    says(&heard, &["CertificateRequired", "--cert"]);

    let stranger = folder.signed("stranger", 1, |_| {});
    let (met, heard) = meet(server(), folder.client(Some(stranger))).await;
    says(&met, &["unknown authority", &ca]);
    says(&heard, &["UnknownCA"]);

    let old = folder.signed("old", 0, |it| {
        it.not_after = (SystemTime::now() - DAY).into()
    });
    let (met, heard) = meet(server(), folder.client(Some(old))).await;
    says(&met, &["has expired"]);
    says(&heard, &["CertificateExpired"]);

    let rules = ClientRules {
        allowed_common_names: vec!["d".to_owned()],
        ..folder.rules()
    };
    let files = folder.server(folder.pair("s"), Some(rules));
    let (met, heard) = meet(files, folder.client(Some(folder.good("c")))).await;
    says(&met, &["\"c\"", "allowed is d"]);
    says(&heard, &["CertificateUnknown"]);

    for (host, is_allowed) in [("a.test", true), ("b.test", false)] {
        let rules = ClientRules {
            allowed_hosts: vec![host.to_owned()],
            ..folder.rules()
        };
        let files = folder.server(folder.pair("s"), Some(rules));
        let (met, _) = meet(files, folder.client(Some(folder.pair("c")))).await;
        assert_eq!(met.is_ok(), is_allowed, "{host}: {met:?}");
    }
}

#[tokio::test]
async fn servers_that_are_refused_are_told_why() {
    let folder = Folder::new();
    let ca = folder.at("ca.pem").display().to_string();
    let server = |pair| folder.server(pair, None);
    let stranger = folder.signed("stranger", 1, |_| {});
    let (met, heard) = meet(server(stranger), folder.client(None)).await;
    says(&heard, &["127.0.0.1:", "unknown authority", &ca]);
    says(&met, &["stranger.pem", "--cacert"]);

    let elsewhere = folder.signed("elsewhere", 0, |it| {
        it.subject_alt_names.remove(0);
    });
    let (_, heard) = meet(server(elsewhere.clone()), folder.client(None)).await;
    says(&heard, &["certificate is valid for a.test, not 127.0.0.1"]);

    let old = folder.signed("old", 0, |it| {
        it.not_after = (SystemTime::now() - DAY).into()
    });
    let (_, heard) = meet(server(old), folder.client(None)).await;
    says(&heard, &["has expired", "127.0.0.1:"]);

    let believes_all = ClientFiles {
        believes_all: true,
        ..folder.client(None)
    };
    let (_, heard) = meet(server(elsewhere), believes_all).await;
    assert_eq!(heard, Ok(()));
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_believed() {
    let folder = Folder::new();
    for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
        let mut params = params("own");
        params.is_ca = is_ca;
        let loopback = SanType::IpAddress("127.0.0.1".parse().unwrap());
        params.subject_alt_names = vec![loopback];
        let key = KeyPair::generate().unwrap();
        let pair = folder.write("own", &params.self_signed(&key).unwrap(), &key);
        let rules = ClientRules {
            trusted_ca: Some(pair.cert.clone()),
            ..ClientRules::default()
        };
        let client = ClientFiles {
            pair: Some(pair.clone()),
            trusted_ca: Some(pair.cert.clone()),
            ..ClientFiles::default()
        };
        let met = meet(folder.server(pair, Some(rules)), client).await;
        assert_eq!(met, (Ok(name("own")), Ok(())), "{is_ca:?}");
    }
    let wanted = SelfSigned {
        hosts: vec!["127.0.0.1".to_owned(), "localhost".to_owned()],
        years: 1,
    };
    let made = self_signed(&folder.at("fixtures/client"), &wanted).unwrap();
    assert_eq!(
        self_signed(&folder.at("fixtures/client"), &wanted).unwrap(),
        made
    );
    let client = ClientFiles {
        trusted_ca: Some(made.cert.clone()),
        ..ClientFiles::default()
    };
    let (_, heard) = meet(folder.server(made, None), client).await;
    assert_eq!(heard, Ok(()));
}

#[tokio::test]
async fn changed_files_count_from_the_next_handshake_on() {
    let folder = Folder::new();
    let list = folder.at("list.pem");
    let revoke = |serials: &[u64]| {
        let now = SystemTime::now();
        let revoked = serials.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: now.into(),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: now.into(),
            next_update: (now + DAY).into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&folder.authorities[0]).unwrap()
    };
    fs::write(&list, revoke(&[7]).pem().unwrap()).unwrap();
    let rules = ClientRules {
        revoked: Some(list.clone()),
        ..folder.rules()
    };
    folder.good("s");
    let files = folder.server(folder.pair("s"), Some(rules));
    let server = Arc::new(TlsServer::open(files).unwrap());
    let served = Served::new(Security::Tls(server.clone()));
    let pair = folder.signed("c", 0, |it| it.serial_number = Some(8.into()));
    let client = Arc::new(TlsClient::open(folder.client(Some(pair))).unwrap());
    assert_eq!(served.meets(&client).await, (Ok(name("c")), Ok(())));

    // In DER this time, as etcd takes it, too.
    fs::write(&list, revoke(&[7, 8]).der().as_ref()).unwrap();
    let (met, heard) = served.meets(&client).await;
    says(&met, &["revoked", "list.pem"]);
    says(&heard, &["CertificateRevoked"]);
    fs::write(&list, "no list").unwrap();
    let (met, _) = served.meets(&client).await;
    says(&met, &["revoked"]);
    assert_eq!(server.report().failures, 1, "what was there before stays");
    fs::write(&list, revoke(&[]).pem().unwrap()).unwrap();
    assert_eq!(served.meets(&client).await, (Ok(name("c")), Ok(())));

    // The client's pair and its authority change; the server knows both authorities at first.
    let both = ["ca.pem", "other.pem"].map(|file| fs::read_to_string(folder.at(file)).unwrap());
    fs::write(folder.at("ca.pem"), both.concat()).unwrap();
    let cert_before = fs::read(folder.pair("c").cert).unwrap();
    folder.signed("c", 1, |_| {});
    let (cert, key) = (folder.pair("c").cert, folder.pair("c").key);
    let cert_after = fs::read(&cert).unwrap();
    fs::write(&cert, &cert_before).unwrap();
    assert_eq!(
        served.meets(&client).await.0,
        Ok(name("c")),
        "half a pair is no pair"
    );
    assert_eq!(client.report().failures, 1);
    fs::write(&cert, &cert_after).unwrap();
    assert_eq!(served.meets(&client).await, (Ok(name("c")), Ok(())));
    assert!(key.exists());
    fs::write(folder.at("ca.pem"), &both[0]).unwrap();
    let (met, _) = served.meets(&client).await;
    says(&met, &["unknown authority"]);
}

#[tokio::test]
async fn versions_and_suites_must_meet() {
    let folder = Folder::new();
    folder.good("s");
    let of = |min, max, cipher_suites: &[u16]| TlsSettings {
        min,
        max,
        cipher_suites: cipher_suites.to_vec(),
    };
    use TlsVersion::{V1_2, V1_3};
    // AES-256 and AES-128 with ECDSA.
    for (server, client, fits) in [
        (of(V1_2, V1_2, &[]), of(V1_3, V1_3, &[]), false),
        (of(V1_2, V1_3, &[]), of(V1_2, V1_2, &[]), true),
        (of(V1_2, V1_2, &[0xC02C]), of(V1_2, V1_2, &[0xC02B]), false),
        (of(V1_2, V1_2, &[0xC02C]), of(V1_2, V1_2, &[]), true),
        // A suite that exists nowhere leaves those of TLS 1.3.
        (of(V1_2, V1_3, &[0xFFFF]), of(V1_2, V1_3, &[]), true),
    ] {
        let shown = format!("{server:?} {client:?}");
        let server = ServerFiles {
            settings: server,
            ..folder.server(folder.pair("s"), None)
        };
        let client = ClientFiles {
            settings: client,
            ..folder.client(None)
        };
        let (met, heard) = meet(server, client).await;
        assert_eq!((met.is_ok(), heard.is_ok()), (fits, fits), "{shown}");
    }
    let none = ServerFiles {
        settings: of(V1_2, V1_2, &[0xFFFF]),
        ..folder.server(folder.pair("s"), None)
    };
    assert!(matches!(TlsServer::open(none), Err(TlsError::NoSuite)));
}

#[tokio::test]
async fn members_are_held_against_the_address_that_they_call_from() {
    let folder = Folder::new();
    let ip = |text: &str| SanType::IpAddress(text.parse().unwrap());
    let dns = |text: &str| SanType::DnsName(text.try_into().unwrap());
    folder.good("s");
    for (names, fits) in [
        (vec![], true),
        (vec![ip("127.0.0.1")], true),
        (vec![ip("127.0.0.9")], false),
        (vec![ip("127.0.0.9"), dns("localhost")], true),
        (vec![dns("nobody.invalid")], false),
    ] {
        let shown = format!("{names:?}");
        let pair = folder.signed("m", 0, |it| it.subject_alt_names = names);
        for checks_address in [true, false] {
            let rules = ClientRules {
                checks_address,
                ..folder.rules()
            };
            let server = folder.server(folder.pair("s"), Some(rules));
            let (met, _) = meet(server, folder.client(Some(pair.clone()))).await;
            assert_eq!(met.is_ok(), fits || !checks_address, "{shown}: {met:?}");
            if let Err(text) = met {
                assert!(
                    text.contains("127.0.0.1") && text.contains("\"m\""),
                    "{text}"
                );
            }
        }
    }
}

#[tokio::test]
async fn who_does_not_speak_tls_is_told_so() {
    let folder = Folder::new();
    let served = Served::tls(folder.server(folder.good("s"), None));
    for words in [
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ] {
        let calls = async {
            let mut stream = TcpStream::connect(served.address()).await.unwrap();
            stream.write_all(words.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            answer
        };
        let (met, answer) = tokio::join!(served.accept(), calls);
        assert!(matches!(met, Err(HandshakeError::Plain)));
        assert!(
            answer.starts_with("HTTP/1.0 400 Bad Request\r\n\r\n"),
            "{answer}"
        );
        assert!(
            answer.contains("Client sent an HTTP request to an HTTPS server."),
            "{answer}"
        );
    }

    // The other way round.
    let plain = Served::new(Security::Plain);
    let client = Arc::new(TlsClient::open(folder.client(None)).unwrap());
    let serves = async {
        let mut stream = plain.accept().await.unwrap().stream;
        let _ = stream.read(&mut [0; 16]).await;
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .unwrap();
        stream.shutdown().await.unwrap();
        stream
    };
    let address = Address {
        is_tls: true,
        ..Address::tcp(plain.address().to_string())
    };
    let dialer = Dialer::within(Duration::from_secs(20)).with_tls(Some(client.clone()));
    let (_stream, dialed) = tokio::join!(serves, dialer.dial(&address));
    let text = dialed.expect_err("no TLS").to_string();
    assert!(text.contains("does not speak TLS; use http://"), "{text}");

    // Where both are listed, both are served.
    let server = TlsServer::open(folder.server(folder.pair("s"), None)).unwrap();
    let either = Served::new(Security::Either(Arc::new(server)));
    assert_eq!(either.meets(&client).await.1, Ok(()));
    let calls = async {
        let mut stream = TcpStream::connect(either.address()).await.unwrap();
        stream.write_all(b"y").await.unwrap();
    };
    let (met, ()) = tokio::join!(either.accept(), calls);
    assert!(matches!(met.unwrap().stream, Stream::Tcp(_)));
}

#[tokio::test]
async fn batched_writes_pass_tls_whole_and_in_order() {
    let folder = Folder::new();
    let served = Served::tls(folder.server(folder.good("s"), None));
    let client = Arc::new(TlsClient::open(folder.client(None)).unwrap());
    let address = Address {
        is_tls: true,
        ..Address::tcp(served.address().to_string())
    };
    let dialer = Dialer::within(Duration::from_secs(20)).with_tls(Some(client));
    let (met, dialed) = tokio::join!(served.accept(), dialer.dial(&address));
    let (mut batched, writes) = BatchedStream::new(met.unwrap().stream, None);
    let lengths = [1, 100, 20_000, 64 * 1024, 3, 4 << 20, 7, 1 << 20];
    let all: Vec<u8> = (0_u8..)
        .zip(lengths)
        .flat_map(|(i, length)| std::iter::repeat_n(i, length))
        .collect();
    let expected = all.clone();
    let write = async move {
        let mut rest = &all[..];
        for length in lengths {
            let (part, after) = rest.split_at(length);
            batched.write_all(part).await.unwrap();
            rest = after;
        }
        // Nobody flushes or ends it.
        std::future::pending::<()>().await;
    };
    let mut write = Box::pin(write);
    let serving = tokio::spawn(poll_fn(move |context| writes.poll(write.as_mut(), context)));
    let mut found = vec![0; expected.len()];
    dialed.unwrap().read_exact(&mut found).await.unwrap();
    assert!(found == expected);
    serving.abort();
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = Folder::new();
    folder.good("a");
    folder.good("b");
    fs::write(folder.at("empty"), "").unwrap();
    let open = |cert: &str, key: &str| {
        let pair = PairFiles {
            cert: folder.at(cert),
            key: folder.at(key),
        };
        let opened = TlsServer::open(folder.server(pair, None));
        opened.expect_err("it cannot be used").to_string()
    };
    let missing = open("missing", "a.key");
    assert!(
        missing.ends_with("missing: no such file or directory"),
        "{missing}"
    );
    assert!(open("empty", "a.key").contains("empty holds no certificate"));
    assert!(open("a.pem", "empty").contains("empty holds no private key"));
    let mismatch = open("a.pem", "b.key");
    assert!(
        mismatch.contains("does not match") && mismatch.contains("b.key"),
        "{mismatch}"
    );
}
