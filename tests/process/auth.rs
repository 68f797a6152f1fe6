//! Who asks, over real sockets: simple tokens, signed ones, and common names of certificates.

use crate::certificates::{Authority, Certificates};
use crate::cluster::{Cluster, Node, eventually};
use detcd_wire::etcdserverpb as pb;
use pb::auth_client::AuthClient;
use std::process::Command;
use tonic::{Code, Request, Status};

/// Hashes are not what these tests are about.
pub const CHEAP: &str = "--bcrypt-cost=4";

async fn change_password(node: &Node, token: &str, name: &str, password: &str) {
    let request = pb::AuthUserChangePasswordRequest {
        name: name.to_owned(),
        password: password.to_owned(),
        hashed_password: String::new(),
    };
    let changed = AuthClient::new(node.channel())
        .user_change_password(shown(request, token))
        .await;
    changed.expect("a change of a password");
}

pub async fn authenticate(node: &Node, name: &str, password: &str) -> Result<String, Status> {
    let request = pb::AuthenticateRequest {
        name: name.to_owned(),
        password: password.to_owned(),
    };
    let answer = AuthClient::new(node.channel()).authenticate(request).await;
    Ok(answer?.into_inner().token)
}

pub fn shown<T>(message: T, token: &str) -> Request<T> {
    let mut request = Request::new(message);
    let token = token.parse().expect("text");
    request.metadata_mut().insert("token", token);
    request
}

async fn get(node: &Node, token: &str) -> Result<(), Status> {
    let request = pb::RangeRequest {
        key: "k".into(),
        ..Default::default()
    };
    node.kv().range(shown(request, token)).await.map(drop)
}

/// Makes users with the password `pw`, root among them, and switches authentication on.
pub async fn enable(node: &Node, users: &[&str]) {
    for user in ["root"].iter().chain(users) {
        let request = pb::AuthUserAddRequest {
            name: user.to_string(),
            password: "pw".to_owned(),
            ..Default::default()
        };
        let mut client = AuthClient::new(node.channel());
        client.user_add(request).await.expect("a user");
    }
    let (user, role) = ("root".to_owned(), "root".to_owned());
    let mut client = AuthClient::new(node.channel());
    let request = pb::AuthUserGrantRoleRequest { user, role };
    client.user_grant_role(request).await.expect("a role");
    let enabled = client.auth_enable(pb::AuthEnableRequest {}).await;
    enabled.expect("authentication");
}

fn invalid(result: Result<(), Status>) {
    let status = result.expect_err("the token is worth nothing");
    let expected = (Code::Unauthenticated, "etcdserver: invalid auth token");
    assert_eq!((status.code(), status.message()), expected);
}

#[tokio::test]
async fn token_is_good_on_every_member_at_once_and_ends_with_its_password() {
    let mut cluster = Cluster::started(3, &[CHEAP]).await;
    let nodes = &cluster.nodes;
    enable(&nodes[0], &[]).await;
    for i in 0..9 {
        let token = authenticate(&nodes[i % 3], "root", "pw")
            .await
            .expect("a token");
        get(&nodes[(i + 1) % 3], &token)
            .await
            .expect("it is known here");
        get(&nodes[(i + 2) % 3], &token).await.expect("and here");
    }
    let wrong = authenticate(&nodes[0], "root", "no")
        .await
        .expect_err("wrong");
    let expected = "etcdserver: authentication failed, invalid user ID or password";
    assert_eq!(
        (wrong.code(), wrong.message()),
        (Code::InvalidArgument, expected)
    );

    let token = authenticate(&nodes[0], "root", "pw")
        .await
        .expect("a token");
    let mut altered = token.clone();
    altered.replace_range(0..1, if token.starts_with('a') { "b" } else { "a" });
    invalid(get(&nodes[0], &altered).await);
    invalid(get(&nodes[1], "no token").await);
    change_password(&nodes[1], &token, "root", "new").await;
    for node in nodes {
        invalid(get(node, &token).await);
    }
    // What ended does not stand in the way of another one.
    let request = pb::AuthenticateRequest {
        name: "root".to_owned(),
        password: "new".to_owned(),
    };
    let mut client = AuthClient::new(nodes[2].channel());
    let answer = client.authenticate(shown(request, &token)).await;
    let token = answer.expect("a token").into_inner().token;
    get(&nodes[0], &token).await.expect("it is good");

    // As in etcd, a member that restarts knows no token.
    cluster.nodes[2].kill();
    cluster.start(2);
    let node = &cluster.nodes[2];
    let refused = eventually("an answer after the restart", || async {
        let refused = get(node, &token).await.expect_err("the token is forgotten");
        (refused.code() == Code::Unauthenticated).then_some(refused)
    })
    .await;
    assert_eq!(refused.message(), "etcdserver: invalid auth token");
    get(&cluster.nodes[0], &token)
        .await
        .expect("it is known here");
}

#[tokio::test]
async fn signed_tokens_outlive_restarts_and_are_made_where_the_private_key_is() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/daemon/jwt/test_keys");
    let signs = format!("--auth-token=jwt,sign-method=RS256,priv-key={folder}/rsa.pem");
    let verifies = format!("--auth-token=jwt,sign-method=RS256,pub-key={folder}/rsa.pub.pem");
    let mut cluster = Cluster::started(1, &[CHEAP, &signs]).await;
    enable(&cluster.nodes[0], &[]).await;
    let token = authenticate(&cluster.nodes[0], "root", "pw")
        .await
        .expect("a token");
    assert_eq!(token.split('.').count(), 3, "{token}");
    get(&cluster.nodes[0], &token).await.expect("it is good");
    invalid(get(&cluster.nodes[0], &token[..token.len() - 8]).await);

    cluster.nodes[0].kill();
    let mut flags = cluster.nodes[0].own_flags();
    flags.extend([CHEAP.to_owned(), verifies]);
    cluster.nodes[0].spawn(&flags);
    let node = &cluster.nodes[0];
    eventually("the token after the restart", || async {
        get(node, &token).await.ok()
    })
    .await;
    let refused = authenticate(node, "root", "pw").await.expect_err("no key");
    let expected = "auth: token signing attempted with verify-only key";
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::Unknown, expected)
    );

    // The revision that a token is of must be that of the users.
    change_password(node, &token, "root", "new").await;
    let refused = get(node, &token).await.expect_err("users have changed");
    let expected = "etcdserver: revision of auth store is old";
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::InvalidArgument, expected)
    );
}

#[tokio::test]
async fn keys_that_sign_nothing_keep_a_member_from_starting() {
    let mut cluster = Cluster::new(1, &["--auth-token=jwt,sign-method=RS256,pub-key=/none.pem"]);
    cluster.start(0);
    let status = cluster.nodes[0].wait().await;
    assert!(!status.success());
    let log = cluster.nodes[0].log();
    assert!(
        log.contains("auth: invalid auth options: open /none.pem"),
        "{log}"
    );
}

#[tokio::test]
async fn common_name_of_a_certificate_is_who_asks_unless_a_token_says_otherwise() {
    let folder = tempfile::tempdir().expect("a folder");
    let certificates = Certificates::in_folder(folder.path());
    let authority = Authority::new("authority");
    certificates.write("ca.pem", &authority.pem);
    for name in ["member", "root", "alice", "stranger"] {
        certificates.sign(name, &authority);
    }
    let mut flags = certificates.mutual("member");
    flags.push(CHEAP.to_owned());
    let flags: Vec<&str> = flags.iter().map(|flag| &flag[..]).collect();
    let mut cluster = Cluster::new(1, &flags);
    cluster.nodes[0].scheme = "https";
    cluster.start(0);
    let node = &cluster.nodes[0];
    let run = |name: &str, line: &str| {
        let output = Command::new(env!("CARGO_BIN_EXE_detcdctl"))
            .arg(format!("--endpoints={}", node.client_url()))
            .args(certificates.client(name))
            .args(line.split(' '))
            .output()
            .expect("detcdctl starts");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    };
    eventually("a put over TLS", || async {
        run("root", "put a 1").0.then_some(())
    })
    .await;
    for line in [
        "user add root --no-password",
        "user add alice --no-password",
        "user add bob:pw",
        "role add reader",
        "role grant-permission reader read a",
        "user grant-role alice reader",
        "auth enable",
    ] {
        let (done, said) = run("root", line);
        assert!(done, "{line}: {said}");
    }
    let denied = |name: &str, line: &str| {
        let (done, said) = run(name, line);
        assert!(
            !done && said.contains("etcdserver: permission denied"),
            "{name} {line}: {said}"
        );
    };
    assert_eq!(run("alice", "get a"), (true, "a\n1\n".to_owned()));
    denied("alice", "get b");
    denied("alice", "put a 2");
    denied("stranger", "get a");
    assert!(run("root", "put b 2").0);
    // Bob may do nothing, whoever's certificate he uses.
    denied("root", "--user bob:pw get a");
    let (_, said) = run("alice", "--user alice:pw get a");
    assert!(said.contains("authentication failed"), "{said}");
}
