-- Deactivations are guarded over a window, of those who were known when it began.

ALTER TABLE provisioned ADD COLUMN since INTEGER NOT NULL DEFAULT 0;  -- when a run first had to do with him
