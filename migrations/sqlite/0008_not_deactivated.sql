-- Why a run has made nobody inactive: it is decided at its end, and told as it was decided.

ALTER TABLE runs ADD COLUMN not_deactivated TEXT;  -- in words; NULL when nobody was to be, or somebody was
