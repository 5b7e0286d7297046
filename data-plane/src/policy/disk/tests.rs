use tollgate_proto::policy::v1::SealingKey;

use super::*;

fn shelf(name: &str) -> Shelf {
    let dir = std::env::temp_dir().join(format!("tollgate-shelf-{name}-{}", uuid::Uuid::now_v7()));
    reopen(dir)
}

fn reopen(dir: PathBuf) -> Shelf {
    let vault = dir.join("vault");
    Shelf::open(dir, vault).unwrap()
}

fn policy(revision: u64) -> TenantPolicy {
    TenantPolicy { tenant_id: TenantId::new().to_string(), revision, ..TenantPolicy::default() }
}

#[test]
fn what_is_put_is_found_after_a_restart_until_it_is_removed() {
    let shelf = shelf("found");
    let (first, second) = (policy(1), policy(2));
    shelf.put(&first).unwrap();
    shelf.put(&second).unwrap();
    let again = reopen(shelf.dir.clone());
    assert_eq!(again.load().len(), 2);
    again.remove(first.tenant_id.parse().unwrap()).unwrap();
    again.remove(first.tenant_id.parse().unwrap()).unwrap();
    assert_eq!(again.load(), [second]);
    fs::remove_dir_all(shelf.dir).unwrap();
}

#[test]
fn a_file_with_any_byte_changed_or_missing_is_not_believed() {
    let shelf = shelf("damaged");
    let kept = policy(7);
    shelf.put(&kept).unwrap();
    let path = shelf.path(kept.tenant_id.parse().unwrap(), POLICY);
    let whole = fs::read(&path).unwrap();
    for index in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[index] ^= 1;
        fs::write(&path, &flipped).unwrap();
        assert!(shelf.load().is_empty(), "byte {index}");
        fs::write(&path, &whole[..index]).unwrap();
        assert!(shelf.load().is_empty(), "cut at {index}");
    }
    fs::remove_dir_all(shelf.dir).unwrap();
}

#[test]
fn nothing_is_believed_whose_floor_is_damaged_and_no_policy_is_young_by_a_damaged_word() {
    let shelf = shelf("floor");
    let kept = policy(7);
    shelf.put(&kept).unwrap();
    shelf.set_heard_at(1_800_000_000).unwrap();
    assert_eq!(reopen(shelf.dir.clone()).heard_at(), Some(1_800_000_000));
    let floor = shelf.dir.join("vault").join(&kept.tenant_id).with_extension("floor");
    let heard = shelf.dir.join("vault").join("policy-heard");
    for (path, believed) in [
        (floor, Box::new(|shelf: &Shelf| !shelf.load().is_empty()) as Box<dyn Fn(&Shelf) -> bool>),
        (heard, Box::new(|shelf: &Shelf| shelf.heard_at().is_some())),
    ] {
        let whole = fs::read(&path).unwrap();
        assert!(believed(&shelf));
        for index in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[index] ^= 1;
            fs::write(&path, &flipped).unwrap();
            assert!(!believed(&shelf), "{}: byte {index}", path.display());
            fs::write(&path, &whole[..index]).unwrap();
            assert!(!believed(&shelf), "{}: cut at {index}", path.display());
        }
        fs::write(&path, &whole).unwrap();
    }
    fs::remove_dir_all(shelf.dir).unwrap();
}

#[test]
fn a_policy_that_says_more_than_this_version_reads_is_kept_all_the_same() {
    let shelf = shelf("newer");
    let digest = "of the whole".to_owned();
    let mut bytes = TenantPolicy { digest, ..policy(1) }.encode_to_vec();
    // Field 4000, a number.
    bytes.extend([0x80, 0xfa, 0x01, 0x07]);
    let read = TenantPolicy::decode(bytes.as_slice()).unwrap();
    shelf.put(&read).unwrap();
    assert_eq!(reopen(shelf.dir.clone()).load(), [read]);
    fs::remove_dir_all(shelf.dir).unwrap();
}

#[test]
fn a_policy_is_sealed_for_its_tenant_under_a_key_that_lies_elsewhere() {
    let shelf = shelf("sealed");
    let secret = vec![7; 32];
    let sealing_keys = vec![SealingKey { id: "k".to_owned(), secret: secret.clone() }];
    let kept = TenantPolicy { sealing_keys, ..policy(1) };
    shelf.put(&kept).unwrap();
    let path = shelf.path(kept.tenant_id.parse().unwrap(), POLICY);
    let written = fs::read(&path).unwrap();
    assert!(!written.windows(secret.len()).any(|window| window == secret));
    assert_eq!(shelf.load(), [kept]);
    let stolen = Shelf::open(shelf.dir.clone(), shelf.dir.join("another vault")).unwrap();
    assert!(stolen.load().is_empty(), "the policies without the key");
    fs::rename(&path, shelf.path(TenantId::new(), POLICY)).unwrap();
    assert!(shelf.load().is_empty(), "in another tenant's place");
    fs::remove_dir_all(shelf.dir).unwrap();
}

#[test]
fn an_older_policy_put_in_the_place_of_a_newer_one_is_not_believed() {
    let shelf = shelf("older");
    let old = policy(7);
    let tenant: TenantId = old.tenant_id.parse().unwrap();
    let next = |epoch: &str, revision| TenantPolicy { epoch: epoch.to_owned(), revision, ..old.clone() };
    let path = shelf.path(tenant, POLICY);
    shelf.put(&old).unwrap();
    let written = fs::read(&path).unwrap();
    shelf.put(&next("", 8)).unwrap();
    fs::write(&path, &written).unwrap();
    assert!(reopen(shelf.dir.clone()).load().is_empty(), "an older revision");
    // After a restore of the database revisions begin anew.
    shelf.put(&next("restored", 2)).unwrap();
    assert_eq!(reopen(shelf.dir.clone()).load(), [next("restored", 2)]);
    fs::write(&path, &written).unwrap();
    assert!(reopen(shelf.dir.clone()).load().is_empty(), "an older epoch");
    shelf.remove(tenant).unwrap();
    fs::write(&path, &written).unwrap();
    assert!(reopen(shelf.dir.clone()).load().is_empty(), "of a tenant that was removed");
    fs::remove_dir_all(shelf.dir).unwrap();
}

#[test]
fn what_was_destroyed_does_not_come_back() {
    let shelf = shelf("destroyed");
    let kept = policy(1);
    shelf.put(&kept).unwrap();
    let path = shelf.path(kept.tenant_id.parse().unwrap(), POLICY);
    let written = fs::read(&path).unwrap();
    shelf.destroy().unwrap();
    assert!(!path.exists());
    fs::write(&path, written).unwrap();
    assert!(reopen(shelf.dir.clone()).load().is_empty());
    fs::remove_dir_all(shelf.dir).unwrap();
}

fn revoked(tenant: TenantId, revision: u64, complete: bool) -> Revocations {
    Revocations { tenant_id: tenant.to_string(), revision, complete, entries: Vec::new() }
}

#[test]
fn revocations_are_found_in_their_order_until_a_complete_message_replaces_them() {
    let (shelf, tenant) = (shelf("revoked"), TenantId::new());
    assert!(shelf.load_revocations().is_empty());
    let messages = [revoked(tenant, 1, true), revoked(tenant, 2, false), revoked(tenant, 3, false)];
    for message in &messages {
        shelf.add_revocations(tenant, message).unwrap();
    }
    assert_eq!(shelf.load_revocations(), [(tenant, Some(messages.to_vec()))]);
    let complete = revoked(tenant, 4, true);
    shelf.add_revocations(tenant, &complete).unwrap();
    assert_eq!(shelf.load_revocations(), [(tenant, Some(vec![complete]))]);
    assert!(shelf.load().is_empty(), "revocations are no policy");
    fs::remove_dir_all(shelf.dir).unwrap();
}

#[test]
fn revocations_with_any_byte_changed_or_missing_are_not_believed() {
    let (shelf, tenant) = (shelf("revoked-damaged"), TenantId::new());
    shelf.add_revocations(tenant, &revoked(tenant, 1, false)).unwrap();
    let path = shelf.path(tenant, REVOCATIONS);
    let first = fs::read(&path).unwrap().len();
    shelf.add_revocations(tenant, &revoked(tenant, 2, false)).unwrap();
    let whole = fs::read(&path).unwrap();
    for index in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[index] ^= 1;
        fs::write(&path, &flipped).unwrap();
        assert_eq!(shelf.load_revocations(), [(tenant, None)], "byte {index}");
        // A file that ends behind a whole message cannot be told from one that was never longer.
        if index != 0 && index != first {
            fs::write(&path, &whole[..index]).unwrap();
            assert_eq!(shelf.load_revocations(), [(tenant, None)], "cut at {index}");
        }
    }
    fs::remove_dir_all(shelf.dir).unwrap();
}
