//! The page of the data planes and of what they join with.

use tollgate_proto::DataPlaneId;

use super::Browser;
use crate::{caller::Role, testing::run};

#[tokio::test]
async fn an_admin_makes_a_token_and_sends_a_data_plane_away() {
    run(async |bench| {
        let id = DataPlaneId::new();
        sqlx::query("INSERT INTO data_planes (id, version) VALUES ($1, '<b>1')")
            .bind(id.uuid())
            .execute(bench.app.db.pool())
            .await
            .unwrap();
        let mut admin = Browser::of(bench, Role::Admin).await;
        let page = admin.get("/fleet").await.expect(200);
        assert!(page.text.contains(&id.to_string()) && page.text.contains("connected") && !page.text.contains("<b>"));

        let made = [("name", "rack 7"), ("uses", "2"), ("expires_in", "")];
        let shown = admin.post("/fleet/enrollment-tokens", &made).await.expect(200);
        assert!(shown.text.contains("tge_") && shown.text.contains("tollgate data-plane --control-url"));
        let list = admin.get("/fleet").await.expect(200);
        assert!(list.text.contains("rack 7") && !list.text.contains("tge_"));
        let start = list.text.find("/fleet/enrollment-tokens/ent_").expect("a form");
        let path = list.text[start..].split('"').next().expect("an end").to_owned();
        admin.post(&path, &[]).await.expect(303);
        assert!(!admin.get("/fleet").await.text.contains("rack 7"));
        admin.post("/fleet/enrollment-tokens", &[("uses", "many")]).await.expect(422);

        admin.post(&format!("/fleet/data-planes/{id}/revoke"), &[]).await.expect(303);
        assert!(admin.get("/fleet").await.text.contains("revoked"));
    })
    .await;
}

#[tokio::test]
async fn a_viewer_sees_the_fleet_and_changes_nothing() {
    run(async |bench| {
        let mut viewer = Browser::of(bench, Role::Viewer).await;
        let page = viewer.get("/fleet").await.expect(200);
        assert!(!page.text.contains("New token"));
        viewer.post("/fleet/enrollment-tokens", &[("name", "x")]).await.expect(403);
        viewer.post(&format!("/fleet/data-planes/{}/revoke", DataPlaneId::new()), &[]).await.expect(403);
    })
    .await;
}
