//! Everything arrives, whatever the control plane does.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use tollgate_proto::usage::v1::UsageRecord;
use tonic::transport::Endpoint;

use super::{
    super::{Shipping, Spool},
    Dir, done,
    intake::{Fault, Intake},
    record, reopen, small_segments,
};
use crate::membership::Link;

const PATIENCE: Duration = Duration::from_secs(30);

fn link(address: std::net::SocketAddr) -> Link {
    Link::over(Endpoint::from_shared(format!("http://{address}")).expect("a URL").connect_lazy())
}

fn call(spool: &Spool) -> String {
    let call = record();
    spool.intent(&call).expect("room").complete(done(&call));
    call.call_id
}

async fn wait_until_empty(spool: &Spool) {
    let started = Instant::now();
    while spool.depth() > 0 {
        assert!(started.elapsed() < PATIENCE, "{} records are left", spool.depth());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn assert_each_stored_once(intake: &Intake, calls: &HashSet<String>) {
    let ledger = intake.0.lock().expect("no panic");
    assert_eq!(&ledger.stored.keys().cloned().collect::<HashSet<_>>(), calls);
    assert!(ledger.stored.values().all(|&times| times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_arrives_soon_after_its_call() {
    let (dir, intake) = (Dir::new(), Intake::default());
    let server = intake.serve("127.0.0.1:0").await;
    let (spool, id) = reopen(&dir.0, &small_segments());
    let shipping = Shipping::start(spool.clone(), id, link(server.address));
    call(&spool);
    wait_until_empty(&spool).await;
    let mut times: Vec<Duration> = Vec::new();
    for _ in 0..5 {
        let ended = Instant::now();
        call(&spool);
        wait_until_empty(&spool).await;
        times.push(ended.elapsed());
    }
    // The best of five: the others may have waited for the processor.
    let best = times.iter().min().expect("five times");
    assert!(*best < Duration::from_millis(250), "{times:?}");
    assert_eq!(shipping.drain(PATIENCE).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_arrives_once_through_every_fault() {
    let (dir, intake) = (Dir::new(), Intake::default());
    let late = Fault::Delay(Duration::from_millis(300));
    intake.0.lock().expect("no panic").faults =
        vec![Fault::StoreHalf, Fault::Refuse, late, Fault::StoreAndFail, Fault::Refuse, Fault::StoreHalf];
    let mut server = intake.serve("127.0.0.1:0").await;
    let address = server.address;
    let (spool, id) = reopen(&dir.0, &small_segments());
    let shipping = Shipping::start(spool.clone(), id, link(address));
    let held = spool.intent(&UsageRecord { tool: "slow".to_owned(), ..record() }).unwrap();
    let mut calls = HashSet::new();
    for round in 0..20 {
        calls.extend((0..50).map(|_| call(&spool)));
        tokio::time::sleep(Duration::from_millis(20)).await;
        if round % 5 == 4 {
            drop(server);
            calls.insert(call(&spool));
            tokio::time::sleep(Duration::from_millis(100)).await;
            server = intake.serve(&address.to_string()).await;
        }
    }
    wait_until_empty(&spool).await;
    assert_each_stored_once(&intake, &calls);
    assert!(dir.segments().len() <= 2, "what was acknowledged is deleted, whatever is open");
    let slow = record();
    held.complete(done(&slow));
    assert_eq!(shipping.drain(PATIENCE).await, 0);
    assert_eq!(intake.0.lock().expect("no panic").stored.len(), calls.len() + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_goes_on_where_the_last_process_stopped() {
    let (dir, intake) = (Dir::new(), Intake::default());
    let server = intake.serve("127.0.0.1:0").await;
    let mut calls = HashSet::new();
    for _ in 0..4 {
        let (spool, id) = reopen(&dir.0, &small_segments());
        let shipping = Shipping::start(spool.clone(), id, link(server.address));
        calls.extend((0..200).map(|_| call(&spool)));
        tokio::time::sleep(Duration::from_millis(15)).await;
        // Stopped wherever it is.
        drop(shipping);
        calls.insert(call(&spool));
    }
    let (spool, id) = reopen(&dir.0, &small_segments());
    let shipping = Shipping::start(spool.clone(), id, link(server.address));
    assert_eq!(shipping.drain(PATIENCE).await, 0);
    assert_each_stored_once(&intake, &calls);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_goes_in_batches_of_a_thousand_at_most() {
    let (dir, intake) = (Dir::new(), Intake::default());
    let (spool, id) = reopen(&dir.0, &super::Settings::default());
    let calls: HashSet<String> = (0..2_500).map(|_| call(&spool)).collect();
    let server = intake.serve("127.0.0.1:0").await;
    let shipping = Shipping::start(spool, id, link(server.address));
    assert_eq!(shipping.drain(PATIENCE).await, 0);
    assert_each_stored_once(&intake, &calls);
    let batches = intake.0.lock().expect("no panic").batches.clone();
    assert!(batches.len() >= 3 && batches.iter().all(|&records| records <= 1_000), "{batches:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_without_a_control_plane_keeps_its_deadline_and_the_records() {
    let dir = Dir::new();
    let (spool, id) = reopen(&dir.0, &super::Settings::default());
    call(&spool);
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], 1));
    let shipping = Shipping::start(spool.clone(), id, link(nobody));
    let started = Instant::now();
    assert_eq!(shipping.drain(Duration::from_millis(300)).await, 1);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    drop(spool);
    let (spool, _) = reopen(&dir.0, &super::Settings::default());
    assert_eq!(spool.depth(), 1);
}
