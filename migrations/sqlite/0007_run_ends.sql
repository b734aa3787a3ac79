-- Why a run has made nobody inactive: it is decided at its end, and told as it was decided. And which runs have ended by a newer
-- export without anybody having been told.

ALTER TABLE runs ADD COLUMN not_deactivated TEXT;            -- in words; NULL when nobody was to be, or somebody was
ALTER TABLE runs ADD COLUMN untold INTEGER NOT NULL DEFAULT 0; -- an export whose place another one took, as long as nobody was told
CREATE INDEX runs_untold ON runs (tenant, id) WHERE untold = 1;
