//! Compiles the protocol definitions with protox, so that no system `protoc` is needed.

use std::{env, error::Error, path::PathBuf};

const PROTOS: [&str; 3] = [
    "proto/tollgate/enrollment/v1/enrollment.proto",
    "proto/tollgate/policy/v1/policy.proto",
    "proto/tollgate/usage/v1/usage.proto",
];

/// Messages whose `Debug` is written by hand, because they hold secrets.
const SECRET: [&str; 4] = [
    "tollgate.enrollment.v1.EnrollRequest",
    "tollgate.policy.v1.SealingKey",
    "tollgate.policy.v1.StaticHeader",
    "tollgate.policy.v1.OauthClientCredentials",
];

fn main() -> Result<(), Box<dyn Error>> {
    for proto in PROTOS {
        println!("cargo:rerun-if-changed={proto}");
    }
    let descriptors = protox::compile(PROTOS, ["proto"])?;
    let descriptor_file = PathBuf::from(env::var("OUT_DIR")?).join("descriptors.bin");
    tonic_prost_build::configure()
        .file_descriptor_set_path(descriptor_file)
        .skip_debug(SECRET)
        // Shared by all streams that it goes out on.
        .bytes(".tollgate.policy.v1.WatchResponse.policy")
        // In the order of their keys, so that equal messages are equal bytes.
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
