use std::path::PathBuf;

use super::*;

/// A directory under `/tmp`, which every user can reach, removed with its data at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        let path = PathBuf::from("/tmp").join(format!("tollgate-pg-test-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir(&path).expect("a directory");
        Self(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn data_survives_a_stop_and_a_kill_of_whoever_started_it() {
    let place = Place::new();
    let mut first = EmbeddedPostgres::start(&place.0).await.expect("starts");
    assert!(first.url().starts_with("postgres://tollgate@localhost/tollgate?host=%2Ftmp%2F"), "{}", first.url());
    let marker = place.0.join("postgres/data/marker");
    std::fs::write(&marker, "").expect("a marker in the data directory");
    // As after SIGKILL: the pipe to the watcher closes and nobody stops Postgres in order.
    drop(first.watcher.stdin.take());
    timeout(STOP_TIMEOUT, first.server.wait()).await.expect("the watcher stops it").expect("waits");

    let mut second = EmbeddedPostgres::start(&place.0).await.expect("starts again");
    assert!(marker.exists(), "the cluster was not made anew");
    second.stop().await;
    assert!(!place.0.join("postgres/data/postmaster.pid").exists(), "stopped in order");
}

#[tokio::test]
async fn a_leftover_server_is_stopped_first() {
    let place = Place::new();
    let first = EmbeddedPostgres::start(&place.0).await.expect("starts");
    let leftover = first.server.id().expect("runs");
    let mut second = EmbeddedPostgres::start(&place.0).await.expect("takes over");
    assert_ne!(second.server.id(), Some(leftover));
    second.stop().await;
}

#[tokio::test]
async fn data_of_another_major_version_is_refused_with_both_versions() {
    let place = Place::new();
    let mut first = EmbeddedPostgres::start(&place.0).await.expect("starts");
    first.stop().await;
    std::fs::write(place.0.join("postgres/data/PG_VERSION"), "9\n").expect("written");
    let failure = EmbeddedPostgres::start(&place.0).await.expect_err("too old").to_string();
    assert!(failure.contains("made with PostgreSQL 9, which is not there"), "{failure}");
    assert!(failure.contains("on this machine there is PostgreSQL"), "{failure}");
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_gets_a_short_one() {
    let place = Place::new();
    let deep = place.0.join("d".repeat(60)).join("e".repeat(60));
    std::fs::create_dir_all(&deep).expect("a deep directory");
    let mut postgres = EmbeddedPostgres::start(&deep).await.expect("starts");
    assert!(postgres.url().contains("host=%2Ftmp%2Ftollgate-"), "{}", postgres.url());
    let socket_dir = postgres.home.socket_dir().to_owned();
    postgres.stop().await;
    assert!(!socket_dir.exists(), "the short directory is removed");
}
