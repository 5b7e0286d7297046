//! A refusal as the result of the tool that was called: what a model reads, where an error stops at its client.
//!
//! Invariant: it says what the error would say: the same sentence, and the same data beside it.

use bytes::Bytes;

use crate::{
    call::Call,
    mcp::{
        json::{self, Raw},
        message::{RequestId, write_result},
        version::Era,
    },
    refusal::Refusal,
};

/// Under which key of `_meta` machines find what an error's `data` holds.
const REFUSAL: &str = "io.tollgate/refusal";

/// The answer to the request with this id.
pub(super) fn body(call: &Call, refusal: &Refusal, id: &RequestId) -> Bytes {
    write_result(id, &result(call.era(), &refusal.to_string(), super::data_of(call, refusal).as_ref()))
}

fn result(era: Era, text: &str, data: Option<&Raw>) -> Raw {
    json::object(|result| {
        result.array("content", |content| {
            content.object(|block| {
                block.text("type", "text");
                block.text("text", text);
            });
        });
        result.boolean("isError", true);
        // Sessions have results of one type alone.
        if era == Era::Modern {
            result.text("resultType", "complete");
        }
        if let Some(data) = data {
            result.object("_meta", |meta| meta.raw(REFUSAL, data));
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn written(era: Era) -> Value {
        let data = json::object(|data| data.text("reason", "rate_limited_requests"));
        let result = result(era, "limit `calm` says \"no\"", Some(&data));
        serde_json::from_slice(result.as_bytes()).expect("JSON")
    }

    #[test]
    fn each_era_reads_a_result_of_its_own() {
        let legacy = json!({
            "content": [{ "type": "text", "text": "limit `calm` says \"no\"" }],
            "isError": true,
            "_meta": { "io.tollgate/refusal": { "reason": "rate_limited_requests" } },
        });
        assert_eq!(written(Era::Legacy), legacy);
        let mut modern = legacy;
        modern["resultType"] = json!("complete");
        assert_eq!(written(Era::Modern), modern);
    }
}
