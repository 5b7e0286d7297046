//! Mailboxes on both stores, and what only Redis can show: data planes that hear each other.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;
use tollgate_proto::{AgentId, ServerId, TenantId, UserId};
use uuid::Uuid;

use super::{
    super::{
        Announcement, Announcements, ChangedList, MAIL_BYTES_MAX, MAIL_MAX, Mail, MailboxId, Owner, SessionChange,
        SessionId, Store, StoreError, redis,
    },
    fixture::{Fixture, patient},
    owner,
    server::{RedisCluster, RedisServer},
};

const TTL_S: u64 = 600;
/// Long enough for a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);

async fn send(store: &Store, owner: Owner, mailbox: MailboxId, message: &'static str) {
    store.send_mail(owner, mailbox, Bytes::from_static(message.as_bytes()), TTL_S).await.unwrap();
}

async fn look(store: &Store, owner: Owner, mailbox: MailboxId, after: u64) -> Vec<Mail> {
    store.receive_mail(owner, mailbox, after, Duration::ZERO).await.unwrap()
}

fn texts(mail: &[Mail]) -> Vec<&str> {
    mail.iter().map(|mail| std::str::from_utf8(&mail.message).unwrap()).collect()
}

pub(super) async fn mail_is_read_in_its_order_until_it_is_passed(fixture: Fixture) {
    let (store, owner, mailbox) = (&fixture.store, owner(), MailboxId::generate().unwrap());
    assert_eq!(look(store, owner, mailbox, 0).await, []);
    for message in ["one", "two", "three"] {
        send(store, owner, mailbox, message).await;
    }
    let mail = look(store, owner, mailbox, 0).await;
    assert_eq!(texts(&mail), ["one", "two", "three"]);
    assert!(mail.is_sorted_by(|one, next| one.position < next.position));
    assert_eq!(look(store, owner, mailbox, 0).await, mail, "what was not passed is still there");
    assert_eq!(texts(&look(store, owner, mailbox, mail[1].position).await), ["three"]);
    assert_eq!(texts(&look(store, owner, mailbox, 0).await), ["three"], "what was passed is gone");
    assert_eq!(look(store, owner, mailbox, mail[2].position).await, []);
    send(store, owner, mailbox, "four").await;
    assert_eq!(texts(&look(store, owner, mailbox, mail[2].position).await), ["four"]);
}

pub(super) async fn a_reader_that_waits_gets_what_comes(fixture: Fixture) {
    let (store, owner, mailbox) = (&fixture.store, owner(), MailboxId::generate().unwrap());
    let waiting = store.receive_mail(owner, mailbox, 0, PATIENCE);
    let sending = async {
        tokio::task::yield_now().await;
        send(store, owner, mailbox, "late").await;
    };
    let (mail, ()) = tokio::join!(waiting, sending);
    assert_eq!(texts(&mail.unwrap()), ["late"]);
}

pub(super) async fn mail_is_for_its_owner_only(fixture: Fixture) {
    let (store, owner, mailbox) = (&fixture.store, owner(), MailboxId::generate().unwrap());
    send(store, owner, mailbox, "private").await;
    let same_tenant = Owner { agent: AgentId::new(), ..owner };
    let same_agent = Owner { tenant: TenantId::new(), ..owner };
    let for_a_user = Owner { user: Some(UserId::new()), ..owner };
    for other in [same_tenant, same_agent, for_a_user] {
        assert_eq!(look(store, other, mailbox, 0).await, []);
        store.discard_mail(other, mailbox).await.unwrap();
    }
    assert_eq!(texts(&look(store, owner, mailbox, 0).await), ["private"]);
}

pub(super) async fn mail_that_nobody_reads_expires(fixture: Fixture) {
    let (store, owner, mailbox) = (&fixture.store, owner(), MailboxId::generate().unwrap());
    send(store, owner, mailbox, "early").await;
    fixture.advance(TTL_S - 1).await;
    let early = look(store, owner, mailbox, 0).await;
    assert_eq!(texts(&early), ["early"]);
    fixture.advance(1).await;
    assert_eq!(look(store, owner, mailbox, 0).await, []);
    send(store, owner, mailbox, "late").await;
    let late = look(store, owner, mailbox, early[0].position).await;
    assert_eq!(texts(&late), ["late"], "a reader that has passed the early one gets the late one");
}

pub(super) async fn discarded_mail_is_gone(fixture: Fixture) {
    let (store, owner, mailbox) = (&fixture.store, owner(), MailboxId::generate().unwrap());
    send(store, owner, mailbox, "unread").await;
    store.discard_mail(owner, mailbox).await.unwrap();
    assert_eq!(look(store, owner, mailbox, 0).await, []);
}

pub(super) async fn a_full_mailbox_takes_no_more_until_it_is_read(fixture: Fixture) {
    let (store, owner) = (&fixture.store, owner());
    let crowded = MailboxId::generate().unwrap();
    for _ in 0..MAIL_MAX {
        send(store, owner, crowded, "small").await;
    }
    let one_more = || store.send_mail(owner, crowded, Bytes::from_static(b"small"), TTL_S);
    assert_eq!(one_more().await, Err(StoreError::MailboxFull));
    let first = look(store, owner, crowded, 0).await[0].position;
    assert_eq!(look(store, owner, crowded, first).await.len(), MAIL_MAX - 1);
    assert_eq!(one_more().await, Ok(()));

    let heavy = MailboxId::generate().unwrap();
    let half = Bytes::from(vec![b'x'; MAIL_BYTES_MAX / 2]);
    for _ in 0..2 {
        store.send_mail(owner, heavy, half.clone(), TTL_S).await.unwrap();
    }
    assert_eq!(store.send_mail(owner, heavy, Bytes::from_static(b"x"), TTL_S).await, Err(StoreError::MailboxFull));
    let first = look(store, owner, heavy, 0).await[0].position;
    look(store, owner, heavy, first).await;
    assert_eq!(store.send_mail(owner, heavy, half, TTL_S).await, Ok(()));
}

pub(super) async fn what_is_announced_is_heard_where_it_was_said(fixture: Fixture) {
    let mut announcements = fixture.store.announcements();
    let said = list_changed();
    fixture.store.announce(said.clone()).await.unwrap();
    assert_eq!(next_but_missed(&mut announcements).await, said);
}

#[test]
fn what_is_no_mailbox_id_is_refused() {
    for text in ["", "short", &"A".repeat(21), &"A".repeat(23), &"=".repeat(22)] {
        assert!(text.parse::<MailboxId>().is_err(), "{text}");
    }
    let id = MailboxId::generate().unwrap();
    assert_eq!(id.to_string().parse(), Ok(id));
    assert_eq!(MailboxId::from_bytes(id.to_bytes()), id);
    assert!(!format!("{id:?}").contains(&id.to_string()));
}

fn list_changed() -> Announcement {
    let told = Some("a session".to_owned());
    Announcement::ListChanged { tenant: TenantId::new(), server: ServerId::new(), list: ChangedList::Prompts, told }
}

fn session_changed(change: SessionChange) -> Announcement {
    Announcement::SessionChanged { tenant: TenantId::new(), session: SessionId::generate().unwrap(), change }
}

/// A connection to the channels that was just made says so, at a time of its own.
async fn next_but_missed(announcements: &mut Announcements) -> Announcement {
    loop {
        let next = timeout(PATIENCE, announcements.next()).await.expect("what was announced");
        if next != Announcement::Missed {
            return next;
        }
    }
}

/// Two data planes that have found the channels.
async fn two_data_planes(urls: &[String]) -> [Store; 2] {
    let stores = [(); 2].map(|()| Store::Redis(redis::Store::open(urls, patient()).unwrap()));
    let [one, other] = &stores;
    for (from, to) in [(one, other), (other, one)] {
        heard(from, to).await;
    }
    stores
}

/// Announces until it is heard: following the channels begins in the background.
async fn heard(from: &Store, to: &Store) {
    let mut announcements = to.announcements();
    let said = list_changed();
    let repeat = async {
        loop {
            // While Redis is away or just back, saying it again is all there is to do.
            let _ = from.announce(said.clone()).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        () = repeat => {}
        next = next_but_missed(&mut announcements) => assert_eq!(next, said),
    }
}

async fn data_planes_hear_and_wake_each_other(urls: &[String]) {
    let [one, other] = two_data_planes(urls).await;
    let mut announcements = other.announcements();
    for change in [
        SessionChange::Ended,
        SessionChange::StreamTaken { by: Uuid::new_v4() },
        SessionChange::LegOpened { server: ServerId::new() },
        SessionChange::Subscriptions { server: ServerId::new(), told: MailboxId::generate().unwrap() },
        SessionChange::Cancelled { request: "\"seven\"".to_owned() },
    ] {
        let said = session_changed(change);
        one.announce(said.clone()).await.unwrap();
        let mut next = next_but_missed(&mut announcements).await;
        while matches!(next, Announcement::ListChanged { .. }) {
            next = next_but_missed(&mut announcements).await;
        }
        assert_eq!(next, said);
    }
    let (owner, mailbox) = (owner(), MailboxId::generate().unwrap());
    let bell = other.bells().hang(mailbox);
    let rung = bell.next();
    send(&one, owner, mailbox, "over there").await;
    timeout(PATIENCE, rung).await.expect("the other data plane is woken");
    assert_eq!(texts(&look(&other, owner, mailbox, 0).await), ["over there"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_planes_hear_and_wake_each_other_in_redis() {
    let server = RedisServer::start().await;
    data_planes_hear_and_wake_each_other(&[server.url()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_planes_hear_and_wake_each_other_in_a_cluster() {
    let cluster = RedisCluster::start().await;
    let mut urls = cluster.urls();
    data_planes_hear_and_wake_each_other(&urls).await;
    // Whichever node a data plane happens to follow.
    urls.rotate_left(1);
    data_planes_hear_and_wake_each_other(&urls).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_plane_that_lost_the_channels_is_told_and_follows_again() {
    let mut server = RedisServer::start().await;
    let [one, other] = two_data_planes(&[server.url()]).await;
    let mut announcements = other.announcements();
    server.query::<()>(::redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub")).await;
    let told = async { while announcements.next().await != Announcement::Missed {} };
    timeout(PATIENCE, told).await.expect("the gap is told");
    heard(&one, &other).await;
    server.kill();
    server.run().await;
    heard(&one, &other).await;
}
