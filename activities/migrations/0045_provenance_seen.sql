-- What keeps a run's own words from counting as the user's: looked for at every outcome, found without reading the rest.
create index provenance_unclean on actguard.provenance (run) where level = 'internal' or (level = 'untrusted' and words);
