//! TLS beside real etcd 3.5.1: each program's client at each program's server.

use crate::certificates::{Authority, Certificates, DAY};
use crate::cluster::{Cluster, eventually, free_port};
use crate::tools::{self, Tool};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::SystemTime;

fn control(program: &Path, flags: &[String], args: &[&str]) -> Output {
    Command::new(program)
        .args(flags)
        .args(args)
        .env("ETCDCTL_API", "3")
        .output()
        .expect("the program starts")
}

/// Which clients are let in.
const CLIENTS: [(&str, bool); 5] = [
    ("client", true),
    ("foreign", false),
    ("old", false),
    ("revoked", false),
    ("server-only", false),
];

fn certificates(folder: &Path) -> Certificates {
    let certificates = Certificates::in_folder(folder);
    let (authority, other) = (Authority::new("authority"), Authority::new("other"));
    certificates.write("ca.pem", &authority.pem);
    certificates.write("list.pem", &authority.revoke(&[77]));
    certificates.sign("member", &authority);
    certificates.sign("client", &authority);
    certificates.sign("foreign", &other);
    certificates.sign_with("old", &authority, |it| {
        it.not_after = (SystemTime::now() - DAY).into();
    });
    certificates.sign_with("revoked", &authority, |it| {
        it.serial_number = Some(77.into());
    });
    certificates.sign_with("server-only", &authority, |it| {
        it.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    certificates
}

#[tokio::test]
async fn each_client_is_served_by_each_server_as_its_certificate_deserves() {
    let test = "each client is served by each server as its certificate deserves";
    let Some(etcd) = tools::find(Tool::Etcd, test) else {
        return;
    };
    let controls: [PathBuf; 2] = [
        env!("CARGO_BIN_EXE_detcdctl").into(),
        etcd.with_file_name("etcdctl"),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let certificates = certificates(folder.path());
    let mutual = certificates.mutual("member");
    let mut flags: Vec<&str> = mutual.iter().map(|flag| &flag[..]).collect();
    let list = certificates.path("list.pem");
    let list = format!("--client-crl-file={list}");
    flags.push(&list);
    for program in [env!("CARGO_BIN_EXE_detcd").into(), etcd] {
        let mut cluster = Cluster::of(program.clone(), 1, &flags);
        cluster.nodes[0].scheme = "https";
        cluster.start(0);
        let port = cluster.nodes[0].client_port;
        for (at, control_program) in controls.iter().enumerate() {
            // With the scheme, and without it, where the flags ask for TLS.
            for endpoint in [
                format!("https://127.0.0.1:{port}"),
                format!("127.0.0.1:{port}"),
            ] {
                let endpoint = format!("--endpoints={endpoint}");
                let value = format!("v{at}");
                eventually("a put over TLS", || async {
                    let args = [&endpoint[..], "put", "k", &value];
                    let put = control(control_program, &certificates.client("client"), &args);
                    put.status.success().then_some(())
                })
                .await;
                let args = [&endpoint[..], "get", "k", "--print-value-only"];
                let got = control(control_program, &certificates.client("client"), &args);
                assert_eq!(String::from_utf8_lossy(&got.stdout), format!("{value}\n"));
            }
            let endpoint = format!("--endpoints=https://127.0.0.1:{port}");
            let args = [&endpoint[..], "--command-timeout=1s", "get", "k"];
            for (name, is_served) in CLIENTS {
                let got = control(control_program, &certificates.client(name), &args);
                let shown = format!(
                    "{} at {}: {name}",
                    control_program.display(),
                    program.display()
                );
                assert_eq!(got.status.success(), is_served, "{shown}: {got:?}");
            }
            let nothing = &certificates.client("client")[..1];
            assert!(!control(control_program, nothing, &args).status.success());
        }
    }
}

/// etcd makes keys on the curve P-521.
#[tokio::test]
async fn etcds_own_certificates_are_taken_by_who_believes_all() {
    let Some(etcd) = tools::find(
        Tool::Etcd,
        "etcd's own certificates are taken by who believes all",
    ) else {
        return;
    };
    let mut cluster = Cluster::of(etcd, 1, &["--auto-tls", "--peer-auto-tls"]);
    cluster.nodes[0].scheme = "https";
    cluster.start(0);
    let endpoint = format!("--endpoints={}", cluster.nodes[0].client_url());
    let believe_all = ["--insecure-skip-tls-verify".to_owned()];
    eventually("a put over TLS", || async {
        let args = [&endpoint[..], "put", "k", "v"];
        let put = control(
            Path::new(env!("CARGO_BIN_EXE_detcdctl")),
            &believe_all,
            &args,
        );
        put.status.success().then_some(())
    })
    .await;
}

#[tokio::test]
async fn flags_that_do_not_fit_are_refused_in_etcds_words() {
    let test = "flags that do not fit are refused in etcd's words";
    let Some(etcd) = tools::find(Tool::Etcd, test) else {
        return;
    };
    let https = "https://127.0.0.1:1";
    let peer = format!("--listen-peer-urls=http://127.0.0.1:{}", free_port());
    for (flags, words) in [
        (
            vec!["--cipher-suites=TLS_X".to_owned()],
            "unexpected TLS cipher suite \\\"TLS_X\\\"",
        ),
        (
            vec![
                format!("--listen-client-urls={https}"),
                format!("--advertise-client-urls={https}"),
                peer,
            ],
            "TLS key/cert (--cert-file, --key-file) must be provided for client url \
             https://127.0.0.1:1 with HTTPS scheme",
        ),
        (
            vec![format!("--listen-peer-urls={https}")],
            "KeyFile and CertFile are not presented",
        ),
    ] {
        for program in [Path::new(env!("CARGO_BIN_EXE_detcd")), &etcd] {
            let folder = tempfile::tempdir().expect("a folder");
            let output = Command::new(program)
                .current_dir(folder.path())
                .args(&flags)
                .output()
                .expect("the program starts");
            let log = String::from_utf8_lossy(&output.stderr);
            assert!(!output.status.success());
            assert!(
                log.contains(words),
                "{} {flags:?}: {log}",
                program.display()
            );
        }
    }
}
