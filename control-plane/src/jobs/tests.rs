use super::*;
use crate::testing::run as with_bench;

#[tokio::test]
async fn a_round_is_left_to_the_control_plane_that_is_at_it() {
    with_bench(async |bench| {
        let mut other = bench.app.db.platform().await.expect("Postgres");
        assert!(sql::try_lock(&mut other).await.expect("Postgres"));
        run(&bench.app).await.expect("nothing to do");
        assert!(
            !bench
                .app
                .metrics
                .render(bench.app.db.pool(), bench.app.policy_changes.connected())
                .contains(r#"job="oauth.purge""#)
        );
        other.commit().await.expect("Postgres");
        run(&bench.app).await.expect("a round");
        let metrics = bench.app.metrics.render(bench.app.db.pool(), bench.app.policy_changes.connected());
        assert!(metrics.contains(r#"tollgate_jobs_total{job="oauth.purge",outcome="ok"}"#), "{metrics}");
    })
    .await;
}
