//! Tokens of etcd 3.5.1 and of ours. `test_keys` holds keys that openssl made, and a token of each
//! method that etcd signed with them for the user root, good for a hundred years.

use super::*;
use proptest::prelude::*;
use std::path::PathBuf;

const ETCDS: &str = include_str!("test_keys/etcd-tokens.txt");

fn key(name: &str) -> PathBuf {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/daemon/jwt/test_keys");
    PathBuf::from(folder).join(name)
}

fn config(method: &str, private: Option<&str>, public: Option<&str>) -> JwtConfig {
    JwtConfig {
        sign_method: method.to_owned(),
        public_key: public.map(key),
        private_key: private.map(key),
        time_to_live: Duration::from_secs(60),
    }
}

fn open(method: &str, private: Option<&str>, public: Option<&str>) -> JwtTokens {
    let opened = JwtTokens::open(&config(method, private, public));
    opened.unwrap_or_else(|error| panic!("{method} {private:?} {public:?}: {error}"))
}

fn refusal(method: &str, private: Option<&str>, public: Option<&str>) -> String {
    let opened = JwtTokens::open(&config(method, private, public));
    opened.expect_err(method).to_string()
}

fn private_of(method: &str) -> &'static str {
    match method {
        "ES256" => "p256-sec1.pem",
        "ES384" => "p384-sec1.pem",
        "EdDSA" => "ed25519.pem",
        _ if method.starts_with("HS") => "secret",
        _ => "rsa.pem",
    }
}

const METHODS: [&str; 12] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256",
    "HS384", "HS512",
];

fn alice() -> AuthInfo {
    AuthInfo {
        user: "alice".to_owned(),
        revision: 7,
    }
}

#[test]
fn tokens_of_etcd_are_verified() {
    let mut seen = 0;
    for line in ETCDS.lines() {
        let (method, token) = line.split_once(' ').expect("a method and a token");
        let root = AuthInfo {
            user: "root".to_owned(),
            revision: 4,
        };
        let tokens = open(method, Some(private_of(method)), None);
        assert_eq!(tokens.verify(token.as_bytes()), Some(root), "{method}");
        seen += 1;
    }
    assert_eq!(seen, METHODS.len() - 1, "etcd 3.5 has no EdDSA");
}

#[test]
fn tokens_of_each_method_stand_for_their_user_and_no_other_method_takes_them() {
    for method in METHODS {
        let tokens = open(method, Some(private_of(method)), None);
        let token = tokens.sign(&alice()).expect(method);
        assert_eq!(tokens.verify(token.as_bytes()), Some(alice()), "{method}");
        // Remembered.
        assert_eq!(tokens.verify(token.as_bytes()), Some(alice()), "{method}");
        for other in METHODS.iter().filter(|other| **other != method) {
            let others = open(other, Some(private_of(other)), None);
            assert_eq!(others.verify(token.as_bytes()), None, "{method} by {other}");
        }
    }
}

#[test]
fn member_with_the_public_key_alone_verifies_and_signs_nothing() {
    for (method, private, public) in [
        ("RS256", "rsa.pem", "rsa.pub.pem"),
        ("PS512", "rsa.pem", "rsa.pub.pem"),
        ("ES256", "p256.pem", "p256.pub.pem"),
        ("ES384", "p384-sec1.pem", "p384.pub.pem"),
        ("EdDSA", "ed25519.pem", "ed25519.pub.pem"),
    ] {
        let both = open(method, Some(private), Some(public));
        let verifier = open(method, None, Some(public));
        let token = both.sign(&alice()).expect(method);
        assert_eq!(verifier.verify(token.as_bytes()), Some(alice()), "{method}");
        assert_eq!(verifier.sign(&alice()), Err(Error::TokenVerifyOnly));
    }
}

#[test]
fn tokens_end_when_they_say_so_and_say_who_they_stand_for() {
    let tokens = open("HS256", Some("secret"), None);
    let key = tokens.signs.as_ref().expect("a secret");
    let signed = |claims: serde_json::Value| encode(&tokens.header, &claims, key).expect("claims");
    let now = unix_seconds() as u64;
    let verify = |claims| tokens.verify(signed(claims).as_bytes());
    use serde_json::json;
    assert!(verify(json!({"username": "a", "revision": 1, "exp": now + 60})).is_some());
    assert!(verify(json!({"username": "a", "revision": 1})).is_some());
    assert_eq!(
        verify(json!({"username": "a", "revision": 1, "exp": now - 2})),
        None
    );
    assert_eq!(
        verify(json!({"username": "a", "revision": 1, "nbf": now + 60})),
        None
    );
    assert_eq!(
        verify(json!({"username": "a", "revision": 1, "exp": "later"})),
        None
    );
    assert_eq!(verify(json!({"username": "a", "exp": now + 60})), None);
    assert_eq!(verify(json!({"revision": 1, "exp": now + 60})), None);
    assert_eq!(verify(json!({"username": 1, "revision": 1})), None);
    assert_eq!(verify(json!({"username": "a", "revision": -1})), None);
    // `alg: none` and an empty signature.
    let none = "eyJhbGciOiJub25lIn0.eyJ1c2VybmFtZSI6InJvb3QiLCJyZXZpc2lvbiI6MX0.";
    assert_eq!(tokens.verify(none.as_bytes()), None);
}

#[test]
fn remembered_tokens_end_and_are_no_more_than_the_bound() {
    let tokens = open("HS256", Some("secret"), None);
    for revision in 0..VERIFIED_MAX as u64 + 10 {
        let user = AuthInfo {
            revision,
            ..alice()
        };
        let token = tokens.sign(&user).expect("a secret");
        assert_eq!(tokens.verify(token.as_bytes()), Some(user));
    }
    let mut verified = tokens.verified.lock().expect("no panic");
    assert!(verified.len() <= VERIFIED_MAX);
    let token = verified.keys().next().expect("some token").clone();
    verified.get_mut(&token).expect("a token").exp = Some(unix_seconds() - 1.0);
    drop(verified);
    assert_eq!(tokens.verify(&token), None);
}

#[test]
fn keys_that_do_not_serve_are_refused_in_etcds_words() {
    let missing = "auth: missing key data";
    assert!(refusal("RS256", None, None).starts_with(missing));
    assert!(refusal("HS256", None, Some("secret")).starts_with(missing));
    let unread = refusal("RS256", None, Some("none.pem"));
    assert!(
        unread.starts_with("auth: invalid auth options: open "),
        "{unread}"
    );
    assert!(unread.contains("none.pem"), "{unread}");
    for (method, private, public) in [
        ("RS256", None, Some("secret")),
        ("RS256", Some("p256.pem"), None),
        ("ES256", Some("rsa.pem"), None),
        ("ES256", Some("p384-sec1.pem"), None),
        ("ES384", None, Some("rsa.pub.pem")),
        ("EdDSA", Some("p256.pem"), None),
    ] {
        let refused = refusal(method, private, public);
        assert!(refused.starts_with("Invalid Key: "), "{method}: {refused}");
    }
    let mismatch = refusal("RS256", Some("rsa-other.pem"), Some("rsa.pub.pem"));
    assert!(
        mismatch.starts_with("auth: public and private keys don't match"),
        "{mismatch}"
    );
    for method in ["none", "ES512", "XX", "rs256"] {
        let refused = refusal(method, Some("rsa.pem"), None);
        assert!(
            refused.starts_with("unsupported signing method: "),
            "{refused}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Bytes that nobody signed stand for nobody, and do no harm.
    #[test]
    fn bytes_are_no_token(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        for method in ["HS256", "ES256", "RS256"] {
            prop_assert_eq!(open(method, Some(private_of(method)), None).verify(&bytes), None);
        }
    }

    /// Nor does a token of which anything was changed.
    #[test]
    fn damaged_tokens_stand_for_nobody(line in 0..11_usize, at in any::<usize>(), byte in any::<u8>()) {
        let (method, token) = ETCDS.lines().nth(line).and_then(|it| it.split_once(' ')).unwrap();
        let tokens = open(method, Some(private_of(method)), None);
        let mut bytes = token.as_bytes().to_vec();
        let at = at % bytes.len();
        // The last letter of a signature has bits that say nothing.
        prop_assume!(bytes[at] != byte && at + 1 < bytes.len());
        bytes[at] = byte;
        prop_assert_eq!(tokens.verify(&bytes), None);
        prop_assert_eq!(tokens.verify(&token.as_bytes()[..at]), None);
    }

    /// Files of keys hold anything.
    #[test]
    fn key_files_of_any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        let pem = format!("-----BEGIN EC PRIVATE KEY-----\n{}\n-----END EC PRIVATE KEY-----\n",
            base64::Engine::encode(&base64::prelude::BASE64_STANDARD, &bytes));
        for content in [bytes.clone(), pem.into_bytes()] {
            std::fs::write(&path, content).unwrap();
            for method in ["RS256", "ES256", "EdDSA"] {
                let config = JwtConfig {
                    private_key: Some(path.clone()),
                    ..config(method, None, None)
                };
                prop_assert!(JwtTokens::open(&config).is_err());
            }
        }
    }
}
