use http::Method;
use serde_json::{Value, json};
use tollgate_proto::{
    AgentId, CallId, DataPlaneId, LimitId, TenantId, UserId,
    usage::v1::{Outcome, ReportedUsage, TokenMethod, UsageRecord},
};

use crate::{
    caller::Role,
    testing::{Bench, run, text},
    usage::intake,
};

async fn store(bench: &Bench, records: impl IntoIterator<Item = UsageRecord>) {
    let delivered = (1..).zip(records.into_iter().map(Some)).collect();
    intake::store(&bench.app, DataPlaneId::new(), delivered).await.expect("stored");
}

fn call(tenant: TenantId, tool: &str) -> UsageRecord {
    UsageRecord {
        call_id: CallId::new().to_string(),
        tenant_id: tenant.to_string(),
        agent_id: AgentId::new().to_string(),
        agent: "bot".to_owned(),
        user_id: UserId::new().to_string(),
        user: "ada@example.com".to_owned(),
        team: "platform".to_owned(),
        server: "demo".to_owned(),
        tool: tool.to_owned(),
        method: "tools/call".to_owned(),
        protocol_version: "2025-11-25".to_owned(),
        outcome: Outcome::Ok.into(),
        decision: "allowed".to_owned(),
        forwarded: true,
        http_status: 200,
        input_bytes: 7,
        output_bytes: 10,
        input_tokens: 2,
        output_tokens: 3,
        duration_us: 2_500,
        upstream_us: 1_500,
        trace_id: "0af7651916cd43dd8448eb211c80319c".to_owned(),
        policy_revision: 4,
        token_method: TokenMethod::ServerReported.into(),
        tokenizer: "o200k_base/bpe-openai-0.3.2".to_owned(),
        images: 1,
        audio: 2,
        media_bytes: 4_000,
        reported: Some(ReportedUsage {
            input_tokens: Some(2),
            output_tokens: Some(3),
            cost_amount: "0.0000000000000001".to_owned(),
            cost_currency: "EUR".to_owned(),
            charge_id: "ch_1".to_owned(),
            billed: true,
            counted_input_tokens: 5,
            counted_output_tokens: 6,
        }),
        ..UsageRecord::default()
    }
}

fn refused(tenant: TenantId, tool: &str) -> UsageRecord {
    UsageRecord {
        outcome: Outcome::Refused.into(),
        decision: "tool_not_granted".to_owned(),
        forwarded: false,
        http_status: 403,
        rpc_error_code: -32_001,
        output_tokens: 0,
        ..call(tenant, tool)
    }
}

#[tokio::test]
async fn a_record_shows_every_field() {
    run(async |bench| {
        let record = UsageRecord {
            parent_call_id: CallId::new().to_string(),
            input_required: true,
            limit_id: LimitId::new().to_string(),
            labels: [("stage".to_owned(), "prod".to_owned())].into(),
            ..call(bench.acme, "echo")
        };
        store(bench, [record.clone()]).await;
        let page = bench.get("usage-records").await.expect(200).json;
        assert_eq!(page["next_cursor"], Value::Null);
        let mut item = page["items"][0].clone();
        assert!(text(&item["at"]).ends_with('Z'), "{item}");
        item["at"] = Value::Null;
        let expected = json!({
            "call_id": record.call_id, "at": null, "agent": "bot", "agent_id": record.agent_id,
            "user": "ada@example.com", "user_id": record.user_id, "team": "platform",
            "server": "demo", "tool": "echo", "method": "tools/call", "protocol_version": "2025-11-25",
            "outcome": "ok", "decision": "allowed", "forwarded": true, "http_status": 200, "rpc_error_code": null,
            "input_bytes": 7, "output_bytes": 10, "input_tokens": 2, "output_tokens": 3,
            "token_method": "server_reported", "tokenizer": "o200k_base/bpe-openai-0.3.2",
            "images": 1, "audio": 2, "media_bytes": 4_000,
            "reported": {
                "billed": true, "input_tokens": 2, "output_tokens": 3, "charge_id": "ch_1",
                "cost": { "amount": "0.0000000000000001", "currency": "EUR" },
                "counted": { "input_tokens": 5, "output_tokens": 6 },
            },
            "duration_ms": 2.5, "upstream_ms": 1.5,
            "trace_id": "0af7651916cd43dd8448eb211c80319c", "policy_revision": 4,
            "parent_call_id": record.parent_call_id, "input_required": true, "labels": { "stage": "prod" },
            "cost": "0", "currency": null, "unpriced": false, "price_book_version": null,
            "limit_id": record.limit_id,
        });
        assert_eq!(item, expected);
    })
    .await;
}

#[tokio::test]
async fn records_come_in_pages_of_the_list_they_belong_to() {
    run(async |bench| {
        store(bench, (0..5).map(|_| call(bench.acme, "echo")).chain([refused(bench.acme, "add")])).await;
        let first = bench.get("usage-records?limit=4&agent=bot").await.expect(200).json;
        let cursor = text(&first["next_cursor"]);
        let second = bench.get(&format!("usage-records?limit=4&agent=bot&cursor={cursor}")).await.expect(200).json;
        assert_eq!(second["next_cursor"], Value::Null);
        let [first, second] = [&first["items"], &second["items"]].map(|items| items.as_array().expect("items"));
        assert_eq!((first.len(), second.len()), (4, 2));
        let ids: Vec<&str> = first.iter().chain(second).map(|item| text(&item["call_id"])).collect();
        assert!(ids.is_sorted_by(|one, two| one > two), "{ids:?}");

        let answer = bench.get(&format!("usage-records?limit=4&agent=other&cursor={cursor}")).await.expect(400);
        assert_eq!(answer.problem().0, "cursor_invalid");
        let users = [("ada@example.com", 6), ("bob@example.com", 0), (&UserId::new().to_string(), 0)];
        for (user, found) in users {
            let of = bench.get(&format!("usage-records?user={user}")).await.expect(200).json;
            assert_eq!(of["items"].as_array().map(Vec::len), Some(found), "{user}");
        }
        let only = bench.get("usage-records?decision=tool_not_granted&outcome=refused&tool=add").await.expect(200).json;
        assert_eq!(only["items"].as_array().map(Vec::len), Some(1));
    })
    .await;
}

#[tokio::test]
async fn another_tenants_records_are_not_there() {
    run(async |bench| {
        let other = bench.tenant("other").await;
        store(bench, [call(other, "echo")]).await;
        assert_eq!(bench.get("usage-records").await.expect(200).json["items"], json!([]));
        assert_eq!(bench.get("reports/usage?by=tool").await.expect(200).json["items"], json!([]));
        bench.get("/api/v1/tenants/other/usage-records").await.expect(404);
    })
    .await;
}

#[tokio::test]
async fn a_report_adds_up_for_everyone_who_reads() {
    run(async |bench| {
        let records = [call(bench.acme, "echo"), call(bench.acme, "echo"), refused(bench.acme, "echo")];
        store(bench, records).await;
        let sums = json!({ "calls": 2, "refused": 1, "input_tokens": 6, "output_tokens": 6, "tokens": 12,
            "cost": "0", "currency": null });
        for (by, name) in
            [("team", "platform"), ("agent", "bot"), ("user", "ada@example.com"), ("server", "demo"), ("tool", "echo")]
        {
            let mut expected = sums.clone();
            expected[by] = json!(name);
            if by == "tool" {
                expected["server"] = json!("demo");
            }
            let call = bench.call(Method::GET, &format!("reports/usage?by={by}")).by(Role::Finance);
            assert_eq!(call.send().await.expect(200).json, json!({ "items": [expected] }));
        }
        for (range, lines) in [
            ("from=2026-01-01", 1),
            ("from=2026-01-01T00:00:00%2B01:00&to=9999-01-01T00:00:00Z", 1),
            ("to=2026-01-01", 0),
            ("from=9999-01-01", 0),
        ] {
            let report = bench.get(&format!("reports/usage?{range}")).await.expect(200).json;
            assert_eq!(report["items"].as_array().map(Vec::len), Some(lines), "{range}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_report_is_csv_for_whoever_asks() {
    run(async |bench| {
        let records = [call(bench.acme, "=cmd|' /C calc'!A0"), call(bench.acme, "a,b")];
        store(bench, records).await;
        let header = "tool,calls,refused,input_tokens,output_tokens,tokens,cost,currency,server\r\n";
        let lines = "'=cmd|' /C calc'!A0,1,0,2,3,5,0,,demo\r\n\"a,b\",1,0,2,3,5,0,,demo\r\n";
        let by_format = bench.call(Method::GET, "reports/usage?by=tool&format=csv").send().await.expect(200);
        let by_accept = bench
            .call(Method::GET, "reports/usage?by=tool")
            .header("accept", "text/csv;q=0.9")
            .send()
            .await
            .expect(200);
        for answer in [by_format, by_accept] {
            assert_eq!(answer.header("content-type"), "text/csv; charset=utf-8; header=present");
            assert_eq!(answer.header("content-disposition"), "attachment; filename=\"usage-by-tool.csv\"");
            assert_eq!(answer.text, format!("{header}{lines}"));
        }
        let json = bench.call(Method::GET, "reports/usage?format=json").header("accept", "text/csv").send().await;
        assert_eq!(json.expect(200).header("content-type"), "application/json");
    })
    .await;
}

#[tokio::test]
async fn a_query_that_makes_no_sense_is_refused() {
    run(async |bench| {
        for query in [
            "usage-records?limit=501",
            "usage-records?agent=%00",
            "usage-records?colour=red",
            "reports/usage?by=colour",
            "reports/usage?from=yesterday",
            "reports/usage?from=2026-13-01",
            "reports/usage?format=xml",
        ] {
            assert_eq!(bench.get(query).await.expect(400).problem().0, "query_invalid", "{query}");
        }
    })
    .await;
}
