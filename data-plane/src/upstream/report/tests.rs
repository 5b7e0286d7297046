use std::{collections::BTreeMap, sync::Arc};

use tollgate_proto::{ServerId, TenantId, policy::v1::TenantPolicy};

use super::*;
use crate::{
    policy::{Instance, Server, Tenant, Transport, UsageReports},
    upstream::health::Failure,
};

const NOW_MS: i64 = 1_800_000_000_000;

fn instance() -> Arc<Instance> {
    let url = http::Uri::from_static("http://h/mcp");
    Arc::new(Instance {
        id: InstanceId::new(),
        url,
        transport: Transport::default(),
        draining: false,
        access: Arc::default(),
    })
}

fn snapshot(tenant: TenantId, instances: Vec<Arc<Instance>>) -> Snapshot {
    let policy = TenantPolicy {
        tenant_id: tenant.to_string(),
        tenant: "acme".to_owned(),
        jwks: r#"{"keys":[]}"#.to_owned(),
        ..TenantPolicy::default()
    };
    let name: tollgate_proto::Name = "files".parse().unwrap();
    let server = Server {
        id: ServerId::new(),
        name: name.clone(),
        display_name: String::new(),
        era: None,
        instances,
        usage_reports: UsageReports::Ignored,
    };
    let servers = BTreeMap::from([(name, Arc::new(server))]);
    Snapshot::default().with(Arc::new(Tenant { servers, ..Tenant::read(&policy, None).unwrap() }))
}

fn healths(reports: &[InstanceReport]) -> Vec<InstanceHealth> {
    reports.iter().flat_map(|report| &report.instances).map(InstanceState::health).collect()
}

#[test]
fn everything_is_told_at_first_and_then_only_what_changed() {
    let (tenant, one, two) = (TenantId::new(), instance(), instance());
    let snapshot = snapshot(tenant, vec![Arc::clone(&one), two]);
    let (instances, mut reporter) = (Instances::default(), Reporter::default());
    let first = reporter.report(&instances, &snapshot, NOW_MS);
    assert_eq!(first[0].complete_tenant_ids, [tenant.to_string()]);
    assert_eq!(healths(&first), [InstanceHealth::Unknown; 2]);
    assert!(reporter.report(&instances, &snapshot, NOW_MS + 1_000).is_empty());

    instances.failed(one.id, Failure::Unreachable);
    let [report] = &reporter.report(&instances, &snapshot, NOW_MS + 2_000)[..] else { panic!("one message") };
    let [state] = &report.instances[..] else { panic!("one instance") };
    assert!(report.complete_tenant_ids.is_empty());
    assert_eq!((state.health(), state.since_ms), (InstanceHealth::Ejected, NOW_MS + 2_000));
    assert_eq!((&*state.instance_id, &*state.last_error), (&*one.id.to_string(), "unreachable"));
}

#[test]
fn another_stream_hears_everything_anew_and_since_when() {
    let (one, tenant) = (instance(), TenantId::new());
    let snapshot = snapshot(tenant, vec![Arc::clone(&one)]);
    let (instances, mut reporter) = (Instances::default(), Reporter::default());
    instances.succeeded(one.id);
    reporter.report(&instances, &snapshot, NOW_MS);
    instances.set_modern(one.id, true);
    reporter.begin();
    let report = &reporter.report(&instances, &snapshot, NOW_MS + 9_000)[0];
    assert_eq!(report.complete_tenant_ids, [tenant.to_string()]);
    let state = &report.instances[0];
    assert_eq!((state.health(), state.since_ms), (InstanceHealth::Healthy, NOW_MS), "its era is no other health");
    assert_eq!((state.era(), &*state.protocol_version, &*state.last_error), (WireEra::Modern, "2026-07-28", ""));
}

#[test]
fn a_tenant_without_instances_is_complete_and_many_instances_are_several_messages() {
    let (instances, mut reporter) = (Instances::default(), Reporter::default());
    let none = reporter.report(&instances, &snapshot(TenantId::new(), Vec::new()), NOW_MS);
    assert_eq!((none.len(), none[0].complete_tenant_ids.len()), (1, 1));
    let many = (0..=ENTRIES_MAX).map(|_| instance()).collect();
    let reports = reporter.report(&instances, &snapshot(TenantId::new(), many), NOW_MS);
    let counts: Vec<_> =
        reports.iter().map(|report| (report.complete_tenant_ids.len(), report.instances.len())).collect();
    assert_eq!(counts, [(1, ENTRIES_MAX), (0, 1)]);
}

#[test]
fn the_version_of_a_server_that_was_another_era_is_not_kept() {
    let (one, instances) = (instance(), Instances::default());
    instances.met(one.id, crate::mcp::version::ProtocolVersion::NEWEST_LEGACY);
    instances.set_modern(one.id, false);
    assert_eq!(instances.sight(one.id).version, Some(crate::mcp::version::ProtocolVersion::NEWEST_LEGACY));
    instances.set_modern(one.id, true);
    instances.set_modern(one.id, false);
    let sight = instances.sight(one.id);
    assert_eq!((sight.era, sight.version), (Some(Era::Legacy), None));
}
