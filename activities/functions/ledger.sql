-- Reading the sealed ledger.

-- Hashes of perfect subtrees, level 0 are leaves; in the order that they were asked for, null where there is none.
create or replace function actguard.ledger_node_hashes(p_levels int[], p_indexes bigint[]) returns table (hash bytea)
language sql stable security definer set search_path = actguard, pg_temp as $$
  select case when w.level = 0 then (select l.hash from ledger_leaves l where l.idx = w.idx)
    else (select n.hash from ledger_nodes n where n.level = w.level and n.idx = w.idx) end
  from unnest(p_levels, p_indexes) with ordinality as w (level, idx, i) order by w.i
$$;

-- A checkpoint as JSON: the latest, the smallest that holds so many leaves, or the latest that a witness signed.
create or replace function actguard.ledger_checkpoint(p jsonb) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('size', size, 'note', note, 'cosigned', cosigned, 'sealedAtMs', ms(sealed_at))
  from ledger_checkpoints
  where (p->>'atLeast' is null or size >= (p->>'atLeast')::bigint)
    and (not coalesce((p->>'cosigned')::boolean, false) or cosigned)
  order by case when p->>'first' is null then -size else size end limit 1
$$;

-- A page of the sealed ledger in the tree's order: index, leaf hash and, where it is asked for, the bytes.
create or replace function actguard.ledger_page(p_from bigint, p_to bigint, p_tenant text default null)
returns table (idx bigint, entry bigint, hash bytea, body bytea, tenant text, content jsonb)
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant(coalesce(p_tenant, '*'));
  select l.idx, l.entry_id, l.hash, case when p_tenant is null or e.tenant = p_tenant then e.body end, e.tenant,
    case when p_tenant is null or e.tenant = p_tenant then c.content end
  from ledger_leaves l left join entries e on e.id = l.entry_id left join entry_contents c on c.entry_id = e.id
  where l.idx >= p_from and l.idx < p_to order by l.idx
$$;

-- How many entries wait to be sealed, and since when the oldest does, in milliseconds of the database's clock.
create or replace function actguard.ledger_waiting() returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant('*');
  select jsonb_build_object('count', count(*), 'oldestMs', ms(min(e.inserted_at)), 'nowMs', ms(clock_timestamp()))
  from ledger_pending p join entries e on e.id = p.entry_id
$$;

-- The ledger is not what was sealed: everything is frozen. Its value is not the one of `freeze all`, so that a thaw does
-- not lift it: a signed recover does.
create or replace function actguard.ledger_broken(p jsonb) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  perform bind_tenant('*');
  perform pg_advisory_xact_lock(hashtextextended('actguard:control:*', 0));
  insert into freezes (tenant, scope, value, set_by, reason) values ('*', 'all', 'ledger', 'sealer', p->>'reason')
  on conflict (tenant, scope, value) do nothing;
  if found then perform write_entries(p->'entries'); end if;
end $$;

-- A verified recover: 'ok', 'used', 'expired'. Only roots of the configuration recover, no row here stands for them.
create or replace function actguard.ledger_recovered(p jsonb) returns text
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare c command_nonces;
begin
  perform bind_tenant(p->>'tenant');
  perform pg_advisory_xact_lock(hashtextextended('actguard:control:*', 0));
  select * into c from command_nonces where tenant = p->>'tenant' and nonce = p->>'nonce';
  if found then return case when c.delivery = p->>'delivery' then 'ok' else 'used' end; end if;
  if to_timestamp((p->>'expMs')::bigint / 1000.0) <= clock_timestamp() then return 'expired'; end if;
  insert into command_nonces (tenant, nonce, target, person, key_id, envelope, delivery)
  values (p->>'tenant', p->>'nonce', p->>'target', p->>'person', p->>'keyId', p->'envelope', p->>'delivery');
  delete from freezes where tenant = '*' and scope = 'all' and value = 'ledger';
  perform write_entries(p->'entries');
  return 'ok';
end $$;

-- The sealed entries that a proof of one call needs, in the tree's order: the run's opening, everything about the call,
-- the enrolments of the keys that answered, and what erased content of it.
create or replace function actguard.ledger_call(p_run text, p_call text) returns table (idx bigint, body bytea, content jsonb)
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_run(p_run);
  with own as (
    select e.id from entries e where e.run = p_run and (e.call = p_call or e.kind = 'run.opened'
      or e.kind = 'ledger.erased' and e.call is null)
    union
    select e.id from runs r join entries e on e.run = '' and e.tenant = r.tenant and e.kind = 'ledger.erased'
      and convert_from(e.body, 'UTF8')::jsonb #>> '{data,user}' = r.user_id where r.run = p_run
    union
    select k.id from answers n join approvals a on a.approval = n.approval
      join entries k on k.run = '' and k.kind = 'key.enrolled' and k.key = 'key:' || n.key_id and k.tenant in (a.tenant, '*')
    where a.run = p_run and a.call = p_call
  )
  select l.idx, e.body, c.content from own join entries e on e.id = own.id left join ledger_leaves l on l.entry_id = e.id
    left join entry_contents c on c.entry_id = e.id order by l.idx
$$;

-- For an audit: a page of checkpoints by size.
create or replace function actguard.ledger_checkpoints_page(p_after bigint, p_limit int) returns table (size bigint, note text)
language sql stable security definer set search_path = actguard, pg_temp as $$
  select c.size, c.note from ledger_checkpoints c where c.size > p_after order by c.size limit p_limit
$$;

-- For an audit: entries that are neither sealed nor wait to be, as { run, call, kind }; at most p_limit.
create or replace function actguard.ledger_hidden(p_limit int) returns setof jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant('*');
  select jsonb_build_object('run', e.run, 'call', e.call, 'kind', e.kind, 'key', e.key) from entries e
  where not exists (select from ledger_leaves l where l.entry_id = e.id)
    and not exists (select from ledger_pending p where p.entry_id = e.id) order by e.id limit p_limit
$$;

-- For an audit: calls as the platform knows them, tools' and models', by run and call. `fresh`: made, `open`: not ended
-- before p_cut, milliseconds: their entries may be younger than what the audit reads.
create or replace function actguard.ledger_calls(p_run text, p_call text, p_limit int, p_cut bigint)
returns table (run text, call text, seq int, state text, approval text, open boolean, fresh boolean)
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant('*');
  select run, call, seq, state, approval, open or coalesce(ms(ended) >= p_cut, false), ms(made) >= p_cut from (
    select c.run, c.call, c.seq, c.state, c.approval, c.state in ('claimed', 'retrying'), c.finished_at, c.last_claim_at from calls c
    union all
    select m.run, m.call, m.seq, m.state, null, m.state = 'started', m.finished_at, m.started_at from model_calls m
  ) all_calls (run, call, seq, state, approval, open, ended, made)
  where (all_calls.run, all_calls.call) > (p_run, p_call) order by 1, 2 limit p_limit
$$;

-- For an audit: runs, by id.
create or replace function actguard.ledger_runs(p_after text, p_limit int, p_cut bigint)
returns table (run text, workflow_id text, fresh boolean, ended boolean)
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant('*');
  select r.run, r.workflow_id, ms(r.opened_at) >= p_cut, coalesce(ms(r.closed_at) < p_cut, false)
  from runs r where r.run > p_after order by r.run limit p_limit
$$;

-- For an audit: approvals that a call has used, by id.
create or replace function actguard.ledger_approvals(p_after text, p_limit int, p_cut bigint)
returns table (approval text, run text, call text, fresh boolean)
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant('*');
  select a.approval, a.run, a.call, ms(a.consumed_at) >= p_cut
  from approvals a where a.state = 'consumed' and a.approval > p_after order by a.approval limit p_limit
$$;
