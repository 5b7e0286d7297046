//! Fuzz targets: what everyone may send is read, decoded or divided, and held against what must be true of it.
//!
//! Each target starts from a corpus of real texts and mutates them. A test runs some ten thousand inputs, the same ones every
//! time; `TOLLGATE_FUZZ_SECONDS=600 cargo test --release -p tollgate-data-plane --lib mcp::fuzz` goes on with new ones
//! for that long. A failure prints the input that showed it, which belongs into the corpus then.
//!
//! Invariant: a target asserts by another way than the code under test: another reader, the way back, another cutting.

mod mutation;
mod targets;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use mutation::Mutator;

const INPUTS: u64 = 20_000;

/// Runs a target on its corpus and on mutations of it.
fn run(target: impl Fn(&[u8]), corpus: &[&[u8]], tokens: &[&str]) {
    let longer = std::env::var("TOLLGATE_FUZZ_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    let until = longer.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let first_seed = until.map_or(0, |_| u64::from(std::process::id()) << 32);
    let goes_on = |input: u64| until.map_or(input < INPUTS, |until| Instant::now() < until);
    for text in corpus {
        check(&target, text);
    }
    let mut input = 0;
    while goes_on(input) {
        let mut mutator = Mutator::new(first_seed + input);
        check(&target, &mutator.mutate(corpus, tokens));
        input += 1;
    }
}

fn check(target: &impl Fn(&[u8]), input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        eprintln!("the input that failed: b\"{}\"", input.escape_ascii());
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn the_reader_reads_what_every_other_reader_reads() {
    run(targets::reader, targets::MESSAGES, targets::MESSAGE_TOKENS);
}

#[test]
fn the_decoder_of_events_gives_the_same_however_a_stream_is_cut() {
    run(targets::events, targets::STREAMS, targets::STREAM_TOKENS);
}

#[test]
fn the_header_codec_gives_back_what_it_was_given() {
    run(targets::headers, targets::VALUES, targets::VALUE_TOKENS);
}

#[test]
fn the_annotations_of_any_schema_mirror_what_they_check() {
    run(targets::schemas, targets::SCHEMAS, targets::SCHEMA_TOKENS);
}

#[test]
fn the_name_mapper_finds_back_whatever_it_joined() {
    run(targets::names, targets::NAMES, targets::NAME_TOKENS);
}

#[test]
fn the_uri_mapper_finds_back_whatever_it_wrapped() {
    run(targets::uris, targets::URIS, targets::URI_TOKENS);
}
