-- What of a run was refused, and since when that counts: refusals for one reason stop it.

ALTER TABLE run_rows ADD COLUMN refusal TEXT;                          -- JSON: what the tenant refused, the same for equal reasons
ALTER TABLE runs ADD COLUMN careful_since INTEGER NOT NULL DEFAULT 0;  -- refusals count from then on: when it was last resumed
CREATE INDEX run_rows_refusal ON run_rows (run, refusal) WHERE refusal IS NOT NULL;
