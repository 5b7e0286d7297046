use std::sync::Arc;

use sqlx::{Executor as _, Row as _};

use super::*;
use crate::{
    app::App,
    policy::{CompileError, compile},
    testing::{Bench, run},
};

async fn keys(app: &App, tenant: TenantId) -> Vec<SealingKey> {
    compile(app, tenant).await.unwrap().unwrap().sealing_keys
}

#[tokio::test]
async fn the_first_policy_makes_the_key_that_every_later_one_has() {
    run(async |bench: &Bench| {
        let first = compile(&bench.app, bench.acme).await.unwrap().unwrap();
        assert_eq!(first.sealing_keys[0].secret.len(), SECRET_LEN);
        assert_eq!(compile(&bench.app, bench.acme).await.unwrap().unwrap(), first, "same rows, same bytes");
        let other = bench.tenant("other").await;
        assert_ne!(keys(&bench.app, other).await, first.sealing_keys, "each tenant has its own");
        let mut tx = bench.app.db.tenant(bench.acme).await.unwrap();
        let made = tx.fetch_all("SELECT actor FROM audit_events WHERE action = 'sealing_key.create'").await.unwrap();
        let actors: Vec<String> = made.iter().map(|row| row.get(0)).collect();
        assert_eq!(actors, ["system"]);
    })
    .await;
}

#[tokio::test]
async fn compilers_that_meet_make_one_key() {
    run(async |bench: &Bench| {
        let mut compiling = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (app, tenant) = (Arc::clone(&bench.app), bench.acme);
            compiling.spawn(async move { keys(&app, tenant).await });
        }
        let mut made = compiling.join_all().await;
        made.dedup();
        assert_eq!((made.len(), made[0].len()), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn the_newest_key_comes_first_and_the_older_ones_stay() {
    run(async |bench: &Bench| {
        let old = keys(&bench.app, bench.acme).await;
        let mut tx = bench.app.db.tenant(bench.acme).await.unwrap();
        make(&mut tx, &bench.app.master_key).await.unwrap();
        tx.commit().await.unwrap();
        let both = keys(&bench.app, bench.acme).await;
        assert_eq!((both.len(), &both[1..]), (2, old.as_slice()));
    })
    .await;
}

#[tokio::test]
async fn a_secret_is_sealed_at_rest_and_opens_in_its_own_row_only() {
    run(async |bench: &Bench| {
        let secret = keys(&bench.app, bench.acme).await.remove(0).secret;
        let other = bench.tenant("other").await;
        keys(&bench.app, other).await;
        let stored = async |tenant| {
            let mut tx = bench.app.db.tenant(tenant).await.unwrap();
            let row = tx.fetch_one("SELECT secret_sealed FROM sealing_keys").await.unwrap();
            row.get::<Vec<u8>, _>(0)
        };
        let sealed = stored(bench.acme).await;
        assert!(!sealed.windows(SECRET_LEN).any(|window| window == secret));
        let mut tx = bench.app.db.tenant(other).await.unwrap();
        sqlx::query("UPDATE sealing_keys SET secret_sealed = $1").bind(sealed).execute(&mut *tx).await.unwrap();
        tx.commit().await.unwrap();
        let moved = compile(&bench.app, other).await;
        assert!(
            matches!(moved, Err(CompileError::SealingKeys(SealingKeyError::Seal(SealError::Damaged)))),
            "{moved:?}"
        );
    })
    .await;
}
