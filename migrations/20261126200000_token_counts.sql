-- How the tokens of a call were counted, what else was in its answer, and what its server says that it used.
ALTER TABLE usage_records
    -- Vocabulary and implementation with its version; empty where nothing was counted exactly.
    ADD tokenizer text NOT NULL DEFAULT '',
    ADD images integer NOT NULL DEFAULT 0,
    ADD audio integer NOT NULL DEFAULT 0,
    ADD media_bytes bigint NOT NULL DEFAULT 0,
    -- `ReportedUsage` of the API, its amount a text; NULL: the server reported nothing that was taken.
    ADD reported jsonb,
    -- What is there was written before any of these was: nothing of it has to be read.
    ADD CONSTRAINT usage_records_token_method_check
        CHECK (token_method IN ('exact', 'estimated', 'server_reported')) NOT VALID,
    -- Whoever is billed by a server's word can see what was counted here.
    ADD CONSTRAINT usage_records_reported_check
        CHECK ((token_method = 'server_reported') = coalesce(reported ? 'counted', false)) NOT VALID;
