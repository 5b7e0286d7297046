use tollgate_proto::ServerId;

use super::*;
use crate::policy::UsageReports;

fn raw(text: &str) -> Raw {
    json::parse(&bytes::Bytes::copy_from_slice(text.as_bytes()), &json::Bounds::UPSTREAM).unwrap()
}

fn seen(tool: &str, name: &str, description: Option<&str>) -> String {
    let (slug, display_name) = ("maps".parse().unwrap(), String::new());
    let server = Server {
        id: ServerId::new(),
        name: slug,
        display_name,
        era: None,
        instances: Vec::new(),
        usage_reports: UsageReports::Ignored,
    };
    let shown = Shown { name: name.into(), description: description.map(Into::into), position: 0 };
    String::from_utf8(selected(&server, &raw(tool), &shown).as_bytes().to_vec()).unwrap()
}

#[test]
fn a_selected_tool_has_the_name_and_the_description_of_the_toolset_and_is_else_as_it_was() {
    let tool = r#"{"title":"Find","description":"Finds.","name":"find","inputSchema":{"name":1},"x":[1.0]}"#;
    assert_eq!(
        seen(tool, "look", Some("Looks it up.")),
        r#"{"title":"Find","name":"look","description":"Looks it up.","inputSchema":{"name":1},"x":[1.0]}"#
    );
    assert_eq!(
        seen(tool, "find", None),
        r#"{"title":"Find","description":"Finds.","name":"find","inputSchema":{"name":1},"x":[1.0]}"#
    );
}

#[test]
fn a_tool_that_says_nothing_of_itself_is_described_all_the_same() {
    assert_eq!(seen(r#"{"name":"find"}"#, "look", Some("Looks.")), r#"{"name":"look","description":"Looks."}"#);
}

#[test]
fn the_user_interface_of_a_selected_tool_leads_back_to_its_server() {
    let tool = r#"{"name":"find","_meta":{"ui":{"resourceUri":"ui://map/view"}}}"#;
    let wrapped = uris::wrapped(&"maps".parse().unwrap(), "ui://map/view");
    assert_eq!(
        seen(tool, "look", None),
        format!(r#"{{"name":"look","_meta":{{"ui":{{"resourceUri":"{wrapped}"}}}}}}"#)
    );
}
