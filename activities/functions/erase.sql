-- Erasing what lies beside entries (trust.md, Ledger). Entries, states, amounts and effect keys stay: proofs hold, and no
-- effect happens a second time.

-- Runs that an erasure names: of one run, or of all of a user.
create or replace function actguard.erasable_runs(p jsonb) returns setof text
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant(p->>'tenant');
  select run from runs where tenant = p->>'tenant'
    and case when p->>'user' is null then run = p->>'run' else user_id = p->>'user' end
$$;

-- Erases by a verified command, all or nothing: { kind: 'ok', entries }, 'used', 'expired', 'role', 'unknown' (no such
-- run or call), 'open' { runs } (they have not ended), 'questions' { calls } (what became of them is still asked).
create or replace function actguard.erase_content(p jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare c command_nonces; v_runs text[]; v_found text[]; v_call text := p->>'call'; v_count integer;
begin
  perform bind_tenant(p->>'tenant');
  perform pg_advisory_xact_lock(hashtextextended('actguard:nonce:' || (p->>'tenant') || ':' || (p->>'nonce'), 0));
  select * into c from command_nonces where tenant = p->>'tenant' and nonce = p->>'nonce';
  if found then return jsonb_build_object('kind', case when c.delivery = p->>'delivery' then 'ok' else 'used' end); end if;
  if to_timestamp((p->>'expMs')::bigint / 1000.0) <= clock_timestamp() then return jsonb_build_object('kind', 'expired'); end if;
  if not may_command(p) then return jsonb_build_object('kind', 'role'); end if;

  v_runs := array(select erasable_runs(p));
  -- whoever writes an outcome locks these rows first: what it adds comes before this erasure, or after its entry
  perform 1 from calls where run = any(v_runs) order by run, call for update;
  perform 1 from model_calls where run = any(v_runs) order by run, call for update;
  if cardinality(v_runs) = 0 or v_call is not null and not exists (select from entries where run = any(v_runs) and call = v_call) then
    return jsonb_build_object('kind', 'unknown');
  end if;
  v_found := array(select run from runs where run = any(v_runs) and status = 'open' order by run limit 5);
  if cardinality(v_found) > 0 then return jsonb_build_object('kind', 'open', 'runs', to_jsonb(v_found)); end if;
  v_found := array(select run || '/' || call from calls where run = any(v_runs) and (v_call is null or call = v_call)
    and state not in ('succeeded', 'failed') order by 1 limit 5);
  if cardinality(v_found) > 0 then return jsonb_build_object('kind', 'questions', 'calls', to_jsonb(v_found)); end if;

  -- answers and commands stay: they are what proves who allowed what, and hold commitments (a resolve holds a result)
  delete from entry_contents k using entries e where e.id = k.entry_id and e.run = any(v_runs) and (v_call is null or e.call = v_call)
    and e.kind <> 'approval.answered' and e.kind <> 'command.accepted';
  get diagnostics v_count = row_count;
  delete from entry_contents k using entries e where e.id = k.entry_id and e.run = any(v_runs) and e.kind = 'command.accepted'
    and convert_from(e.body, 'UTF8')::jsonb #>> '{data,verb}' = 'resolve'
    and (v_call is null or coalesce(command_payload(k.content->'envelope') #>> '{data,call}', v_call) = v_call); -- sealed: it goes, too
  update command_nonces n set envelope = 'null' where n.target = any(select 'run:' || r from unnest(v_runs) r)
    and command_payload(n.envelope)->>'verb' = 'resolve'
    and (v_call is null or command_payload(n.envelope) #>> '{data,call}' = v_call);
  update calls set late = null, args_digest = 'erased', question = null,
    result = case when result is not null then jsonb_build_object('kind', result->'kind', 'erased', true,
      'spentMicros', coalesce(result->'spentMicros', '0')) end,
    resolved = case when resolved is not null then '{"erased": true}'::jsonb end
    where run = any(v_runs) and (v_call is null or call = v_call);
  update model_calls set result = null where run = any(v_runs) and (v_call is null or call = v_call);
  delete from transcripts where run = any(v_runs) and (v_call is null or call = v_call);
  delete from provenance where run = any(v_runs) and (v_call is null or call = v_call);
  update runs set grant_json = jsonb_set(grant_json, '{input}', '""') where run = any(v_runs) and v_call is null;
  delete from live_text where run = any(v_runs) and (v_call is null or call = v_call);
  update approvals set content = null, title = 'erased' where run = any(v_runs) and (v_call is null or call = v_call);

  insert into command_nonces (tenant, nonce, target, person, key_id, envelope, delivery)
  values (p->>'tenant', p->>'nonce', p->>'target', p->>'person', p->>'keyId', p->'envelope', p->>'delivery');
  perform write_entries(p->'entries');
  return jsonb_build_object('kind', 'ok', 'entries', v_count);
end $$;

-- What a command's envelope signs, as JSON; null where it is none.
create or replace function actguard.command_payload(p_envelope jsonb) returns jsonb
language plpgsql immutable set search_path = actguard, pg_temp as $$
begin
  return convert_from(decode(p_envelope->>'payload', 'base64'), 'UTF8')::jsonb;
exception when others then return null;
end $$;
