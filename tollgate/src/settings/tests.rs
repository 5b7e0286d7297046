use super::*;

fn settings(role: Role, flags: &[(&'static str, &str)], variables: &[(&str, &str)], file: &str) -> Settings {
    let flags = flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    let variable =
        |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
    let table = file.parse().expect("TOML");
    Settings::merge(role, &flags, variable, Some((PathBuf::from("t.toml"), table)))
}

fn reader(settings: Settings) -> Reader {
    Reader::new(settings)
}

#[test]
fn a_flag_beats_a_variable_beats_the_file_beats_the_default() {
    let file = "control_url = 'http://file'\nops_addr = 'file'\ndata_addr = 'file'";
    let read = settings(
        Role::DataPlane,
        &[("control_url", "http://flag")],
        &[("TOLLGATE_CONTROL_URL", "http://variable"), ("TOLLGATE_OPS_ADDR", "variable")],
        file,
    );
    let printed = read.print();
    assert!(printed.contains("control_url = \"http://flag\"  # flag\n"), "{printed}");
    assert!(printed.contains("ops_addr = \"variable\"  # TOLLGATE_OPS_ADDR\n"), "{printed}");
    assert!(printed.contains("data_addr = \"file\"  # t.toml\n"), "{printed}");
    assert!(printed.contains("state_dir = \".tollgate/data-plane\"  # default\n"), "{printed}");
    assert!(printed.contains("# redis_url is not set\n"), "{printed}");
}

#[test]
fn what_is_printed_is_toml_without_secrets() {
    let variables = [
        ("TOLLGATE_DATABASE_URL", "postgres://u:hunter2@db/t?password=hunter2"),
        ("TOLLGATE_ENROLLMENT_TOKEN", "hunter2"),
    ];
    let read = settings(Role::ControlPlane, &[], &variables, "");
    let printed = read.print();
    assert!(!printed.contains("hunter2"), "{printed}");
    assert!(!format!("{read:?}").contains("hunter2"));
    assert!(printed.contains("postgres://u:***@db/t?***"), "{printed}");
    let table: toml::Table = printed.parse().expect("TOML");
    assert_eq!(table["enrollment_token"].as_str(), Some("(hidden)"));
}

#[test]
fn every_mistake_is_reported_at_once() {
    let mut reader = reader(settings(
        Role::ControlPlane,
        &[("control_addr", "nowhere"), ("public_data_url", "ftp://x"), ("enrollment_token", "hunter2")],
        &[],
        "colour = 'red'\ngrpc_addr = 7401",
    ));
    let _ = reader.required("database_url");
    let _: Option<std::net::SocketAddr> = reader.parsed("control_addr");
    let _ = reader.base_url("public_data_url");
    let _ = reader.enrollment_token();
    let failure = reader.finish(None::<()>).expect_err("six mistakes").to_string();
    for part in [
        "unknown key `colour`",
        "`grpc_addr` must be a text",
        "--database-url or TOLLGATE_DATABASE_URL",
        "`control_addr` is `nowhere` (from flag)",
        "`public_data_url` is `ftp://x/`",
        "`enrollment_token`: an enrollment token has at least 32 characters",
    ] {
        assert!(failure.contains(part), "{part} is not in: {failure}");
    }
    assert!(!failure.contains("hunter2"), "{failure}");
}

#[test]
fn a_password_in_a_broken_url_stays_hidden() {
    let mut reader = reader(settings(Role::DataPlane, &[("redis_url", "redis//:hunter2@")], &[], ""));
    let _: Option<url::Url> = reader.parsed("redis_url");
    let failure = reader.finish(None::<()>).expect_err("no URL").to_string();
    assert!(!failure.contains("hunter2"), "{failure}");
}

#[test]
fn a_redis_cluster_is_a_list() {
    let from_file = reader(settings(Role::DataPlane, &[], &[], "redis_url = ['redis://a', 'redis://b']"));
    assert_eq!(from_file.list("redis_url"), ["redis://a", "redis://b"]);
    let from_flag = reader(settings(Role::DataPlane, &[("redis_url", "redis://a, redis://b,")], &[], ""));
    assert_eq!(from_flag.list("redis_url"), ["redis://a", "redis://b"]);
}

#[test]
fn an_empty_variable_is_no_value() {
    let read = settings(Role::DataPlane, &[], &[("TOLLGATE_OPS_ADDR", "")], "");
    assert!(read.print().contains("ops_addr = \"127.0.0.1:7403\"  # default\n"));
}
