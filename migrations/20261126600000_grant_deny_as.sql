-- How a tool call is answered that a grant permits, and that a limit or a budget turns away.

ALTER TABLE grants
    ADD COLUMN deny_as text NOT NULL DEFAULT 'http' CHECK (deny_as IN ('http', 'tool_error'));
