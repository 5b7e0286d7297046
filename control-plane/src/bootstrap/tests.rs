use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use http::Method;
use secrecy::SecretString;
use uuid::Uuid;

use super::{BootstrapError, run};
use crate::{
    app::App,
    db::Db,
    router,
    seal::MasterKey,
    testing::{self, run_empty, send},
};

/// A directory that goes with the test.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("tollgate-{}", Uuid::now_v7()));
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("a directory");
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("the directory goes");
    }
}

async fn app(url: &SecretString, key: &MasterKey) -> App {
    testing::app(Db::open(url).await.expect("the database opens"), key.clone())
}

fn token(path: &Path) -> String {
    fs::read_to_string(path).expect("a token").trim().to_owned()
}

#[tokio::test]
async fn the_first_start_makes_a_tenant_and_a_token_that_works() {
    run_empty(async |url| {
        let directory = Directory::new();
        let file = directory.file("admin-token");
        let app = Arc::new(app(&url, &MasterKey::generate().expect("a key")).await);
        run(&app, Some(&file)).await.expect("prepared");
        assert_eq!(fs::metadata(&file).expect("a file").permissions().mode() & 0o777, 0o600);
        assert_eq!(directory.names(), ["admin-token"]);

        let router = router::build(Arc::clone(&app));
        let request = http::Request::builder().method(Method::GET).uri("/api/v1/tenants/default/teams");
        let teams = send(&router, request, Some(&token(&file)), String::new()).await.expect(200);
        assert_eq!(teams.json["items"][0]["name"], "default");
        assert_eq!(teams.json["items"][0]["created_by"], "system");

        let tenant: Uuid =
            sqlx::query_scalar("SELECT id FROM tenants").fetch_one(app.db.pool()).await.expect("a tenant");
        let mut tx = app.db.tenant(tenant.into()).await.expect("a transaction");
        let keys: i64 =
            sqlx::query_scalar("SELECT count(*) FROM signing_keys").fetch_one(&mut *tx).await.expect("a count");
        assert_eq!(keys, 1);
        drop(tx);
        app.db.pool().close().await;
    })
    .await;
}

#[tokio::test]
async fn a_later_start_leaves_everything_as_it_is() {
    run_empty(async |url| {
        let directory = Directory::new();
        let file = directory.file("admin-token");
        let app = app(&url, &MasterKey::generate().expect("a key")).await;
        run(&app, Some(&file)).await.expect("prepared");
        let first = token(&file);
        run(&app, Some(&file)).await.expect("prepared already");
        run(&app, None).await.expect("needs no file any more");
        assert_eq!(token(&file), first);
        app.db.pool().close().await;
    })
    .await;
}

#[tokio::test]
async fn two_that_start_at_once_prepare_the_database_once() {
    run_empty(async |url| {
        let directory = Directory::new();
        let key = MasterKey::generate().expect("a key");
        let start = async |name: &str| {
            let app = app(&url, &key).await;
            run(&app, Some(&directory.file(name))).await.expect("prepared");
            app
        };
        let (one, two) = tokio::join!(start("one"), start("two"));
        assert_eq!(directory.names().len(), 1, "one token for one installation");
        let tenants: i64 =
            sqlx::query_scalar("SELECT count(*) FROM tenants").fetch_one(one.db.pool()).await.expect("a count");
        assert_eq!(tenants, 1);
        one.db.pool().close().await;
        two.db.pool().close().await;
    })
    .await;
}

#[tokio::test]
async fn another_master_key_is_refused() {
    run_empty(async |url| {
        let directory = Directory::new();
        let file = directory.file("admin-token");
        let first = app(&url, &MasterKey::generate().expect("a key")).await;
        run(&first, Some(&file)).await.expect("prepared");
        let other = app(&url, &MasterKey::generate().expect("a key")).await;
        assert!(matches!(run(&other, Some(&file)).await, Err(BootstrapError::OtherMasterKey)));
        first.db.pool().close().await;
        other.db.pool().close().await;
    })
    .await;
}

#[tokio::test]
async fn without_a_place_for_the_token_nothing_is_made() {
    run_empty(async |url| {
        let app = app(&url, &MasterKey::generate().expect("a key")).await;
        let error = run(&app, None).await.expect_err("no place");
        assert!(error.to_string().contains("TOLLGATE_ADMIN_TOKEN_FILE"), "{error}");
        let nowhere = Path::new("/nonexistent/admin-token");
        assert!(matches!(run(&app, Some(nowhere)).await, Err(BootstrapError::AdminTokenFile { .. })));
        let tenants: i64 =
            sqlx::query_scalar("SELECT count(*) FROM tenants").fetch_one(app.db.pool()).await.expect("a count");
        assert_eq!(tenants, 0);
        app.db.pool().close().await;
    })
    .await;
}
