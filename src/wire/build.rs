//! Compiles the .proto files without protoc: protox parses them, prost and tonic generate the code.

use prost::Message as _;
use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut files = protox::compile(
        [
            "proto/kv.proto",
            "proto/auth.proto",
            "proto/rpc.proto",
            "proto/lock.proto",
            "proto/election.proto",
        ],
        ["proto"],
    )?;

    // Reflection shows the descriptors with etcd's own field names.
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("no OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), files.encode_to_vec())?;

    // Rust's names come from a copy: etcd's `peerURLs` would become `peer_ur_ls`.
    for message in files
        .file
        .iter_mut()
        .flat_map(|file| &mut file.message_type)
    {
        for field in &mut message.field {
            if let Some(stem) = field.name().strip_suffix("URLs") {
                field.name = Some(format!("{stem}_urls"));
            }
        }
    }

    let grpc = env::var_os("CARGO_FEATURE_GRPC").is_some();
    tonic_prost_build::configure()
        .bytes(".")
        .build_client(grpc)
        .build_server(grpc)
        .emit_rerun_if_changed(false)
        .compile_fds(files)?;
    Ok(())
}
