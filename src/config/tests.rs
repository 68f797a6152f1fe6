//! Flags, variables and their errors. The error texts were captured from etcd 3.5.1.

use super::*;
use crate::config::flags::{Kind, Status};

fn args(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_string()))
        .collect()
}

fn serve(line: &str, env: &[(&str, &str)]) -> (Config, Vec<Notice>) {
    match read(&args(line), &variables(env)) {
        Ok(Request::Serve(config, notices)) => (*config, notices),
        other => panic!("{line:?} with {env:?} gave {other:?}"),
    }
}

fn config(line: &str) -> Config {
    serve(line, &[]).0
}

fn error(line: &str) -> UsageError {
    read(&args(line), &[]).expect_err(line)
}

#[test]
fn without_flags_it_is_etcds_default_member() {
    let config = config("");
    assert_eq!(config.name, "default");
    assert_eq!(config.data_dir, PathBuf::from("default.etcd"));
    assert_eq!(
        url::join(&config.listen_client_urls),
        "http://localhost:2379"
    );
    assert_eq!(url::join(&config.listen_peer_urls), "http://localhost:2380");
    assert_eq!(
        url::join(&config.advertise_client_urls),
        "http://localhost:2379"
    );
    assert_eq!(config.heartbeat, Duration::from_millis(100));
    assert_eq!(config.election_timeout, Duration::from_millis(1000));
    assert_eq!(config.quota_backend_bytes, Some(2 << 30));
    assert_eq!(config.keepalive_interval, Some(Duration::from_secs(7200)));
    let bootstrap = config.bootstrap().unwrap();
    assert_eq!(bootstrap.token, "etcd-cluster");
    assert_eq!(
        url::join(&bootstrap.members["default"]),
        "http://localhost:2380"
    );
}

#[test]
fn the_four_ways_to_write_a_flag_are_equal() {
    let wanted = config("--name x");
    for line in ["-name x", "-name=x", "--name=x"] {
        assert_eq!(config(line), wanted, "{line}");
    }
    assert_eq!(wanted.data_dir, PathBuf::from("x.etcd"));
}

#[test]
fn a_name_alone_makes_a_cluster_of_its_advertised_urls() {
    let config =
        config("--name n1 --initial-advertise-peer-urls http://127.0.0.1:7,http://127.0.0.1:6");
    let bootstrap = config.bootstrap().unwrap();
    assert_eq!(
        url::join(&bootstrap.members["n1"]),
        "http://127.0.0.1:6,http://127.0.0.1:7"
    );
}

#[test]
fn a_flag_beats_a_variable_and_says_so() {
    let env = [
        ("ETCD_NAME", "env"),
        ("ETCD_SNAPSHOT_COUNT", "7"),
        ("ETCD_BOGUS", "1"),
        ("HOME", "/"),
    ];
    let (config, notices) = serve("--name flag", &env);
    assert_eq!((&config.name[..], config.snapshot_count), ("flag", 7));
    assert_eq!(
        notices,
        [
            Notice::UnknownVariable("ETCD_BOGUS=1".into()),
            Notice::ShadowedVariable("ETCD_NAME".into()),
            Notice::UsedVariable("ETCD_SNAPSHOT_COUNT".into(), "7".into()),
        ]
    );
    let strict = read(&args("--name flag --strict-env"), &variables(&env)).unwrap_err();
    assert!(strict.to_string().starts_with(
        "conflicting environment variable \"ETCD_NAME\" is shadowed by corresponding command-line flag"
    ));
}

#[test]
fn variables_of_container_images_do_no_harm() {
    let (config, notices) = serve("", &[("ETCD_VERSION", "v3.5.1"), ("ETCD_NAME", "")]);
    assert_eq!(config.name, "default", "an empty variable is none");
    assert_eq!(
        notices,
        [Notice::UnknownVariable("ETCD_VERSION=v3.5.1".into())]
    );
}

#[test]
fn a_bad_variable_is_refused_by_its_name() {
    let refused = |name, value| read(&[], &variables(&[(name, value)])).unwrap_err();
    assert_eq!(
        refused("ETCD_SNAPSHOT_COUNT", "x"),
        UsageError::Verify("invalid value \"x\" for ETCD_SNAPSHOT_COUNT: parse error".into())
    );
    assert_eq!(
        refused("ETCD_LISTEN_CLIENT_URLS", "foo:1").to_string(),
        "invalid value \"foo:1\" for ETCD_LISTEN_CLIENT_URLS: URL scheme must be http, https, \
         unix, or unixs: foo:1"
    );
}

#[test]
fn syntax_errors_read_as_etcds() {
    for (line, text) in [
        ("--bogus=1", "flag provided but not defined: -bogus"),
        ("---x", "bad flag syntax: ---x"),
        ("--name", "flag needs an argument: -name"),
        (
            "--heartbeat-interval=x",
            "invalid value \"x\" for flag -heartbeat-interval: parse error",
        ),
        (
            "--snapshot-count -1",
            "invalid value \"-1\" for flag -snapshot-count: parse error",
        ),
        (
            "--pre-vote=maybe",
            "invalid boolean value \"maybe\" for -pre-vote: parse error",
        ),
        (
            "--initial-cluster-state foo",
            "invalid value \"foo\" for flag -initial-cluster-state: invalid value",
        ),
        (
            "--listen-client-urls localhost:2379",
            "invalid value \"localhost:2379\" for flag -listen-client-urls: URL scheme must be http, https, unix, or unixs: localhost:2379",
        ),
        (
            "--listen-client-urls http://localhost",
            "invalid value \"http://localhost\" for flag -listen-client-urls: URL address does not have the form \"host:port\": http://localhost",
        ),
        (
            "--listen-client-urls http://127.0.0.1:1/path",
            "invalid value \"http://127.0.0.1:1/path\" for flag -listen-client-urls: URL must not contain a path: http://127.0.0.1:1/path",
        ),
        (
            "--listen-client-urls 127.0.0.1:2379",
            "invalid value \"127.0.0.1:2379\" for flag -listen-client-urls: parse \"127.0.0.1:2379\": first path segment in URL cannot contain colon",
        ),
        (
            "--listen-client-urls http://%zz:1",
            "invalid value \"http://%zz:1\" for flag -listen-client-urls: parse \"http://%zz:1\": invalid URL escape \"%zz\"",
        ),
        (
            "--listen-client-urls http://127.0.0.1:abc",
            "invalid value \"http://127.0.0.1:abc\" for flag -listen-client-urls: parse \"http://127.0.0.1:abc\": invalid port \":abc\" after host",
        ),
    ] {
        assert_eq!(error(line), UsageError::Syntax(text.into()), "{line}");
    }
}

#[test]
fn refusals_read_as_etcds() {
    for (line, text) in [
        ("bogus", "'bogus' is not a valid flag"),
        ("--pre-vote true", "'true' is not a valid flag"),
        (
            "--heartbeat-interval 0",
            "--heartbeat-interval must be >0 (set to 0ms)",
        ),
        (
            "--election-timeout 0",
            "--election-timeout must be >0 (set to 0ms)",
        ),
        (
            "--heartbeat-interval 500",
            "--election-timeout[1000ms] should be at least as 5 times as --heartbeat-interval[500ms]",
        ),
        (
            "--election-timeout 60000",
            "--election-timeout[60000ms] is too long, and should be set less than 50000ms",
        ),
        (
            "--listen-client-urls http://127.0.0.1:1",
            "--advertise-client-urls is required when --listen-client-urls is set explicitly",
        ),
        (
            "--listen-peer-urls http://foo.bar:1",
            "expected IP in URL for binding (http://foo.bar:1)",
        ),
        (
            "--listen-client-urls http://:1 --advertise-client-urls http://127.0.0.1:1",
            "expected IP in URL for binding (http://:1)",
        ),
        (
            "--listen-peer-urls http://:1",
            "expected IP in URL for binding (http://:1)",
        ),
        ("--name a -- x", "'x' is not a valid flag"),
        (
            "--discovery http://x/y --initial-cluster a=http://x:1",
            "multiple discovery or bootstrap flags are set. Choose one of \"initial-cluster\", \"discovery\" or \"discovery-srv\"",
        ),
    ] {
        assert_eq!(error(line), UsageError::Verify(text.into()), "{line}");
    }
}

#[test]
fn bootstrap_errors_read_as_etcds() {
    for (line, text) in [
        (
            "--initial-cluster a=http://127.0.0.1:1",
            "couldn't find local name \"default\" in the initial cluster configuration",
        ),
        (
            "--name a --initial-advertise-peer-urls http://127.0.0.1:1 --initial-cluster a=http://127.0.0.1:1,b=http://127.0.0.1:1",
            "initial cluster a=http://127.0.0.1:1,b=http://127.0.0.1:1 has duplicate url",
        ),
        (
            "--name a --initial-cluster a",
            "error setting up initial cluster: URL scheme must be http, https, unix, or unixs: ",
        ),
        (
            "--name a --initial-cluster a=http://127.0.0.1:1/foo",
            "error setting up initial cluster: URL must not contain a path: http://127.0.0.1:1/foo",
        ),
        (
            "--name a --initial-cluster =http://127.0.0.1:1",
            "couldn't find local name \"a\" in the initial cluster configuration",
        ),
    ] {
        assert_eq!(
            config(line).bootstrap().unwrap_err().to_string(),
            text,
            "{line}"
        );
    }
}

#[test]
fn listeners_without_certificates_cannot_be_tls() {
    let client = config(
        "--listen-client-urls https://127.0.0.1:1 --advertise-client-urls https://127.0.0.1:1",
    );
    assert_eq!(
        client.check_listeners().unwrap_err().to_string(),
        "TLS key/cert (--cert-file, --key-file) must be provided for client url https://127.0.0.1:1 with HTTPS scheme"
    );
    assert_eq!(
        config("--listen-peer-urls https://127.0.0.1:2")
            .check_listeners()
            .unwrap_err()
            .to_string(),
        "cannot listen on TLS for 127.0.0.1:2: KeyFile and CertFile are not presented"
    );
}

#[test]
fn unix_sockets_are_listened_on_and_advertised() {
    let config = config(
        "--listen-client-urls unix://a:1 --advertise-client-urls unix:///run/a.sock \
         --listen-peer-urls unix://a:2 --initial-advertise-peer-urls unix://a:2 \
         --initial-cluster default=unix://a:2",
    );
    assert!(config.check_listeners().is_ok() && config.bootstrap().is_ok());
    let client =
        self::config("--listen-client-urls unixs://a:1 --advertise-client-urls unixs://a:1");
    assert_eq!(
        client.check_listeners().unwrap_err().to_string(),
        "TLS key/cert (--cert-file, --key-file) must be provided for client url unixs://a:1 with HTTPS scheme"
    );
    let nowhere = args("--listen-client-urls unix:// --advertise-client-urls unix://");
    assert!(read(&nowhere, &[]).is_err());
}

#[test]
fn what_is_not_offered_is_refused_and_not_ignored() {
    for flag in flags::all().filter(|flag| flag.status == Status::DefaultOnly) {
        let with_default = format!("--{}={}", flag.name, flag.default);
        assert!(
            read(&[with_default], &[]).is_ok(),
            "{} refuses its default",
            flag.name
        );
        let other = match flag.kind {
            Kind::Bool => (flag.default != "true").to_string(),
            Kind::Uint | Kind::Int => "3".to_owned(),
            Kind::Duration => "17s".to_owned(),
            Kind::Urls => "http://127.0.0.1:1".to_owned(),
            Kind::OneOf(words) => words[1].to_owned(),
            Kind::Text | Kind::Address => "y".to_owned(),
        };
        let refused = read(&[format!("--{}={other}", flag.name)], &[]).expect_err(flag.name);
        assert!(
            refused.to_string().contains("is not supported"),
            "{}: {refused}",
            flag.name
        );
    }
}

#[test]
fn every_default_is_a_value_of_its_flag() {
    let mut names = std::collections::BTreeSet::new();
    for flag in flags::all() {
        assert!(names.insert(flag.name), "{} stands twice", flag.name);
        assert!(flags::find(flag.name).is_some());
        if !flag.is_question() && flag.kind != Kind::Text {
            let arg = format!("--{}={}", flag.name, flag.default);
            assert!(
                !matches!(
                    read(std::slice::from_ref(&arg), &[]),
                    Err(UsageError::Syntax(_))
                ),
                "{arg}"
            );
        }
    }
    assert_eq!(
        flags::find("experimental-watch-progress-notify-interval")
            .unwrap()
            .name,
        "watch-progress-notify-interval"
    );
    // Only what etcd called so.
    assert_eq!(
        error("--experimental-name a"),
        UsageError::Syntax("flag provided but not defined: -experimental-name".into())
    );
    let variable = ("ETCD_EXPERIMENTAL_NAME".to_owned(), "a".to_owned());
    match read(&[], &[variable]) {
        Ok(Request::Serve(config, _)) => assert_eq!(config.name, "default"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_addresses_of_2013_are_urls() {
    let wanted = |line: &str, urls: [&str; 4]| {
        let config = config(line);
        let given = [
            url::join(&config.advertise_client_urls),
            url::join(&config.listen_client_urls),
            url::join(&config.initial_advertise_peer_urls),
            url::join(&config.listen_peer_urls),
        ];
        assert_eq!(given, urls, "{line}");
        assert_eq!(config.log.format, LogFormat::Capnslog02);
    };
    let peer = "http://127.0.0.1:7001";
    let all = "http://0.0.0.0:4001";
    wanted("-name machine1 -addr 0.0.0.0:4001", [all, all, peer, peer]);
    wanted(
        "-addr host:4002 -bind-addr 0.0.0.0:4001",
        ["http://host:4002", all, peer, peer],
    );
    let client = "http://127.0.0.1:4001";
    wanted(
        "-peer-addr [::1]:7002 -peer-bind-addr [::]",
        [client, client, "http://[::1]:7002", "http://[::]:7002"],
    );
    wanted(
        "-addr host:4001 -listen-client-urls http://127.0.0.1:4009",
        ["http://host:4001", "http://127.0.0.1:4009", peer, peer],
    );
    assert_eq!(
        error("-addr a:1 -advertise-client-urls http://a:1").to_string(),
        "Set only one of flags \"advertise-client-urls\" and \"addr\""
    );
    for (line, problem) in [
        ("-addr a", "bad format in address specification"),
        ("-addr :4001", "bad format in address specification"),
        ("-peer-addr a:b", "bad port in address specification"),
    ] {
        assert!(error(line).to_string().ends_with(problem), "{line}");
    }
}

#[test]
fn the_log_has_the_shape_that_is_asked_for() {
    let format = |line: &str| config(line).log.format;
    assert_eq!(format(""), LogFormat::Json);
    assert_eq!(format("--log-format=capnslog"), LogFormat::Capnslog);
    assert_eq!(
        format("-addr a:1 --bind-addr 127.0.0.1 --log-format=json"),
        LogFormat::Json
    );
    assert_eq!(config("--debug").log.level, LogLevel::Debug);
    let refused = args("--log-format capnslog --heartbeat-interval 0");
    assert_eq!(log_of_refusal(&refused, &[]).format, LogFormat::Capnslog);
}

#[test]
fn flags_that_etcd_2_dropped_are_told() {
    let (_, notices) = serve("-v -snapshot -cluster-active-size 9", &[]);
    assert_eq!(
        notices,
        [
            Notice::DroppedFlag("cluster-active-size"),
            Notice::DroppedFlag("snapshot"),
            Notice::DroppedFlag("v"),
        ]
    );
}

#[test]
fn a_file_beats_flags_and_variables_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("etcd.yml");
    std::fs::write(&path, "etcd:\n  name: of-file\n").unwrap();
    let line = format!("--name flag --config-file {}", path.display());
    let (config, notices) = serve(&line, &[("ETCD_SNAPSHOT_COUNT", "7")]);
    assert_eq!(
        (&config.name[..], config.snapshot_count),
        ("of-file", 10_000)
    );
    assert_eq!(
        notices,
        [
            Notice::LeftOut("flag -name".into()),
            Notice::LeftOut("ETCD_SNAPSHOT_COUNT".into()),
        ]
    );
    let missing = error("--config-file /nonexistent").to_string();
    assert!(
        missing == "open /nonexistent: no such file or directory",
        "{missing}"
    );
}

/// The map of a walkthrough, whose name is none of its cluster's.
#[test]
fn the_map_of_a_walkthrough_is_read_and_its_mistake_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("etcd.yml");
    let map = "etcd:
  name: my-etcd-1
  listen_client_urls: http://127.0.0.1:2379
  advertise_client_urls: http://127.0.0.1:2379
  listen_peer_urls: http://127.0.0.1:2380
  initial_advertise_peer_urls: http://127.0.0.1:2380
  initial_cluster: my-1=http://127.0.0.1:2380,my-2=http://127.0.0.2:2380,my-3=http://127.0.0.3:2380
  initial_cluster_token: my-etcd-token
  initial_cluster_state: new
";
    std::fs::write(&path, map).unwrap();
    let config = config(&format!("--config-file {}", path.display()));
    assert_eq!(
        config.bootstrap().unwrap_err().to_string(),
        "couldn't find local name \"my-etcd-1\" in the initial cluster configuration"
    );
    assert_eq!(config.initial_cluster_token, "my-etcd-token");
}

#[test]
fn two_dashes_end_the_flags() {
    assert_eq!(config("--name a --").name, "a");
}

#[test]
fn a_client_url_that_stands_twice_counts_once() {
    let twice = config(
        "--listen-client-urls http://127.0.0.1:1,http://127.0.0.1:1 \
         --advertise-client-urls http://127.0.0.1:1",
    );
    assert_eq!(url::join(&twice.listen_client_urls), "http://127.0.0.1:1");
}

#[test]
fn durations_are_gos() {
    for (text, ms) in [
        ("0", 0),
        ("5s", 5_000),
        ("1h30m", 5_400_000),
        ("1.5s", 1_500),
        ("300ms", 300),
        ("2h", 7_200_000),
    ] {
        assert_eq!(parse::parse_duration_ms(text), Some(ms), "{text}");
    }
    for text in ["", "5", "s", "-5s", "5x", "1h3"] {
        assert_eq!(parse::parse_duration_ms(text), None, "{text}");
    }
}

#[test]
fn questions_win_over_everything() {
    assert_eq!(read(&args("--version --name x"), &[]), Ok(Request::Version));
    assert_eq!(read(&args("-h"), &[]), Ok(Request::Help));
    let text = help();
    for flag in flags::all() {
        assert!(
            text.contains(&format!("  --{} '", flag.name)),
            "help misses {}",
            flag.name
        );
    }
    let info = VersionInfo {
        detcd: "0.1.0",
        git_sha: "abc",
        rust: "1.95.0",
        os: "linux",
        arch: "x86_64",
    };
    assert_eq!(
        version(info),
        "detcd Version: 0.1.0\nGit SHA: abc\nRust Version: 1.95.0\nRust OS/Arch: linux/amd64\n"
    );
}

#[test]
fn a_bcrypt_cost_that_there_is_not_is_the_default_and_warned_of() {
    assert_eq!(config("").auth.bcrypt_cost, 10);
    assert_eq!(config("--bcrypt-cost 4").auth.bcrypt_cost, 4);
    for cost in ["3", "32", "4294967300"] {
        let (config, notices) = serve(&format!("--bcrypt-cost {cost}"), &[]);
        assert_eq!(config.auth.bcrypt_cost, 10);
        assert_eq!(notices.len(), 1, "{notices:?}");
    }
}

#[test]
fn tokens_are_simple_or_signed_as_the_options_say() {
    assert_eq!(config("").auth.tokens, TokenConfig::Simple);
    assert_eq!(
        config("--auth-token simple,x=y").auth.tokens,
        TokenConfig::Simple
    );
    let line = "--auth-token jwt,sign-method=RS256,pub-key=/p,priv-key=/q,ttl=10m";
    let jwt = JwtConfig {
        sign_method: "RS256".to_owned(),
        public_key: Some("/p".into()),
        private_key: Some("/q".into()),
        time_to_live: Duration::from_secs(600),
    };
    assert_eq!(config(line).auth.tokens, TokenConfig::Jwt(jwt));
    let (_, notices) = serve(
        "--auth-token jwt,sign-method=HS256,priv-key=/k,bogus=1",
        &[],
    );
    let unknown = Notice::Advice("unknown JWT options: bogus".to_owned());
    assert_eq!(notices, [unknown]);
    for refused in [
        "bogus",
        "jwt",
        "jwt,",
        "jwt,sign-method=RS256,a=b=c",
        "jwt,sign-method=RS256,sign-method=RS512",
        "jwt,sign-method=RS256,ttl=5x",
    ] {
        let text = error(&format!("--auth-token {refused}")).to_string();
        assert!(text.starts_with("auth: invalid auth options"), "{text}");
    }
}

#[test]
fn simple_tokens_live_for_300_seconds_unless_told_otherwise() {
    let seconds = |line: &str| config(line).auth.token_time_to_live.as_secs();
    assert_eq!(seconds(""), 300);
    assert_eq!(seconds("--auth-token-ttl 7"), 7);
    assert_eq!(seconds("--auth-token-ttl 0"), 300, "as in etcd");
}
