-- What callers are told apart by: a login can belong to one person after another.
ALTER TABLE audit ADD COLUMN caller TEXT COLLATE "C" NOT NULL DEFAULT '';
