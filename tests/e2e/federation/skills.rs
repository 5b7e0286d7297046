//! Skills of a real server at the joined endpoint: listed, described and read under names that lead back.

use serde_json::json;
use tollgate_tests::{ReferenceServer, ScriptedServer, Speaks};

use super::{both, deployment};

const MANUAL: &str = "tollgate://reference/~/skill://reference/proofreading/SKILL.md";
const SKILLS: &str = "io.modelcontextprotocol/skills";

#[tokio::test]
async fn a_skill_is_found_and_read_by_agents_of_both_eras() {
    let tollgate = deployment().await;
    let server = ReferenceServer::start(Speaks::Modern).await;
    let other = ScriptedServer::modern().start().await;
    tollgate.register_url("reference", server.url()).await;
    tollgate.register("other", &other).await;
    let agent = tollgate.agent("ci").grant("reference:*").grant("other:*").create().await;
    let [here, there] = both(&tollgate, &agent).await;
    let discovered = here.request("server/discover", json!({})).await;
    assert!(discovered.result()["capabilities"]["extensions"][SKILLS].is_object(), "{}", discovered.body);
    let session = there.initialize("2025-11-25").await;
    for client in [&here, &there, &session] {
        let listed = client.request("skills/list", json!({})).await;
        let skills = listed.result()["skills"].as_array().unwrap_or_else(|| panic!("no skills: {}", listed.body));
        assert_eq!(skills.len(), 1, "a server that has none has an empty list: {}", listed.body);
        assert_eq!(skills[0]["uri"], MANUAL);
        assert_eq!(skills[0]["frontmatter"]["name"], "proofreading");
        let got = client.request("skills/get", json!({"uri": MANUAL})).await;
        assert_eq!(got.result()["skill"], skills[0], "{}", got.body);
        let folder = MANUAL.replace("/SKILL.md", "");
        let files = client.request("resources/directory/read", json!({"uri": folder})).await;
        assert_eq!(files.result()["resources"][0]["uri"], MANUAL, "{}", files.body);
        // As the manual itself names it.
        let neighbour = MANUAL.replace("SKILL.md", "references/marks.md");
        let read = client.request("resources/read", json!({"uri": neighbour})).await;
        assert_eq!(read.result()["contents"][0]["uri"], neighbour, "{}", read.body);
    }
    let narrow = tollgate.agent("narrow").grant("reference:test_simple_text").create().await;
    let [here, _] = both(&tollgate, &narrow).await;
    assert_eq!(here.request("skills/list", json!({})).await.result()["skills"], json!([]));
    let refused = here.request("skills/get", json!({"uri": MANUAL})).await;
    assert_eq!(refused.error()["data"]["reason"], "tool_not_granted", "{}", refused.body);
    let discovered = here.request("server/discover", json!({})).await;
    assert!(discovered.result()["capabilities"]["extensions"].get(SKILLS).is_none(), "{}", discovered.body);
}
