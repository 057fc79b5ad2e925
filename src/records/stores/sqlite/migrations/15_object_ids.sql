-- Whether another caller has an object is asked by its id alone.
CREATE INDEX objects_id ON objects (kind, id);
