-- A granted approval, as the claim uses it up.

-- Takes a yes for one effect; called inside the claim's transaction. 'ok', or why not: 'unknown' (not this call's),
-- 'open', 'rejected', 'expired', 'withdrawn', 'consumed' (for another effect), 'lapsed' (a key or a role is gone).
create or replace function actguard.consume_approval(p_approval text, p_run text, p_call text, p_effect text) returns text
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare a approvals;
begin
  perform bind_run(p_run);
  select * into a from approvals where approval = p_approval for update;
  if not found or a.run <> p_run or a.call <> p_call then return 'unknown'; end if;
  if a.state = 'consumed' then return case when a.consumed_by_effect = p_effect then 'ok' else 'consumed' end; end if;
  if a.state <> 'granted' then return a.state; end if;
  if a.expires_at <= clock_timestamp() then return 'expired'; end if;
  if not gates_answered(a.approval) then return 'lapsed'; end if;
  update approvals set state = 'consumed', consumed_by_effect = p_effect, consumed_at = clock_timestamp() where approval = p_approval;
  return 'ok';
end $$;

-- The gates that a yes answers: [{ id, sha256, … }], empty as long as there is no yes.
create or replace function actguard.granted_gates(p_approval text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_approval(p_approval);
  select coalesce((select gates from approvals where approval = p_approval and state in ('granted', 'consumed')), '[]'::jsonb)
$$;

-- Everything that proves a yes, for the worker to verify again before the claim; null: not this call's, or no yes.
create or replace function actguard.granted_context(p_approval text, p_run text, p_call text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_run(p_run);
  select jsonb_build_object('nowMs', ms(clock_timestamp()), 'state', a.state, 'request', convert_from(a.request, 'UTF8'),
    'content', a.content, 'answers', (
      select jsonb_agg(jsonb_build_object('keyId', n.key_id, 'envelope', n.envelope, 'key',
        (select jsonb_build_object('envelope', k.envelope, 'chain', k.chain, 'revoked', k.revoked_at is not null)
         from keys k where k.tenant = n.tenant and k.key_id = n.key_id)) order by n.person)
      from answers n where n.approval = a.approval))
  from approvals a
  where a.approval = p_approval and a.run = p_run and a.call = p_call and a.state in ('granted', 'consumed')
$$;
