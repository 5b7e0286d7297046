use bytes::Bytes;

use super::*;
use crate::mcp::{
    json::{Bounds, parse},
    method::Method,
};

fn output(text: &str) -> Part {
    let result = serde_json::json!({"content": [{"type": "text", "text": text}]}).to_string();
    Part::Output(Some(Method::ToolsCall), parse(&Bytes::from(result), &Bounds::UPSTREAM).expect("valid"))
}

/// Counts words, and stands still at `wait` until somebody else is at [`GATE`] too; fails at `fail`.
fn words(text: &str) -> u64 {
    assert_ne!(text, "fail", "as asked");
    if text == "wait" {
        GATE.wait();
    }
    text.split_whitespace().count() as u64
}

static GATE: std::sync::LazyLock<std::sync::Barrier> = std::sync::LazyLock::new(|| std::sync::Barrier::new(2));

#[tokio::test]
async fn texts_are_counted_elsewhere_and_up_to_a_length() {
    let pool = Pool::start(words, 2).expect("threads");
    let counts = pool.count(&[output("a b c"), output("d")]).expect("room").await.expect("counted");
    assert_eq!((counts.output.counted_bytes, counts.output.counted_tokens), (6, 4));
    assert!(counts.is_exact());
    let long = "ü ".repeat(100_000);
    let counts = pool.count(&[output(&long)]).expect("room").await.expect("counted");
    assert_eq!(counts.output.counted_bytes + counts.output.uncounted_bytes, 300_000);
    assert!((COUNTED_BYTES_MAX - 1..=COUNTED_BYTES_MAX).contains(&counts.output.counted_bytes), "{counts:?}");
    assert!(!counts.is_exact());
}

#[tokio::test]
async fn what_finds_no_room_or_fails_is_not_waited_for() {
    let pool = Pool::start(words, 1).expect("a thread");
    let held = pool.count(&[output("wait")]).expect("room");
    let failing = pool.count(&[output("fail")]).expect("room");
    // The first one is with the thread or still waits: either way there is room for all but one.
    let waiting: Vec<_> = std::iter::from_fn(|| pool.count(&[output("x")])).collect();
    assert!((WAITING_MAX - 2..WAITING_MAX).contains(&waiting.len()), "{}", waiting.len());
    GATE.wait();
    assert!(held.await.is_ok());
    assert!(failing.await.is_err());
    for counted in waiting {
        assert_eq!(counted.await.expect("counted after the failure").output.counted_tokens, 1);
    }
    assert!(pool.count(&[output("x")]).is_some());
}

#[tokio::test]
async fn the_memory_of_what_waits_is_bounded() {
    let pool = Pool::start(words, 0).expect("no thread is always there");
    let large = vec![output(&"x".repeat(WAITING_BYTES_MAX / 8)); 8];
    assert!(pool.count(&large).is_some(), "one alone always finds room");
    assert!(pool.count(&[output("small")]).is_none());
}

#[test]
fn the_threads_end_with_the_counter() {
    let pool = Pool::start(words, 1).expect("a thread");
    let queue = Arc::downgrade(&pool.0);
    drop(pool);
    // The thread holds the queue for as long as it runs.
    while queue.upgrade().is_some() {
        thread::yield_now();
    }
}
