-- Policy sets and their activation. The claim compares the set a call was decided under with the active one, under the
-- control locks that an activation takes alone: no call runs under a set that was replaced before its claim.

-- The digest of the set that decides in a tenant: its own, else that of every tenant; null: the workers' files.
create or replace function actguard.active_policy(p_tenant text) returns text
language sql stable security definer set search_path = actguard, pg_temp as $$
  select digest from active_policies
  where role = 'enforced' and tenant in (p_tenant, '*') and digest is not null order by tenant = '*' limit 1
$$;

-- Whether a person activated what decides in a tenant now.
create or replace function actguard.activated_policy(p_tenant text, p_person text) returns boolean
language sql stable security definer set search_path = actguard, pg_temp as $$
  select coalesce((select p_person = any (x.people) from active_policies a join policy_activations x on x.id = a.activation
    where a.role = 'enforced' and a.tenant in (p_tenant, '*') and a.digest is not null order by a.tenant = '*' limit 1), false)
$$;

-- Stores a set, inert until it is activated: 'pushed', 'again', 'full' (p.max sets are here).
create or replace function actguard.push_policies(p jsonb) returns text
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  perform bind_tenant('*');
  if exists (select from policy_sets where digest = p->>'digest') then return 'again'; end if;
  if (select count(*) from policy_sets) >= (p->>'max')::int then return 'full'; end if;
  insert into policy_sets (digest, files, source, pushed_by) values (p->>'digest', p->'files', p->>'source', p->>'by')
  on conflict do nothing;
  if not found then return 'again'; end if;
  perform write_entries(p->'entries');
  return 'pushed';
end $$;

-- The texts of a set; null: there is none.
create or replace function actguard.read_policies(p_digest text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('digest', digest, 'files', files, 'source', source, 'pushedBy', pushed_by, 'pushedAtMs', ms(pushed_at))
  from policy_sets where digest = p_digest
$$;

-- Moves whenever an activation committed (a count: ids of two tenants may commit in the other order): workers look at
-- it every few seconds.
create or replace function actguard.policy_epoch() returns bigint
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant('*');
  select count(*) from policy_activations
$$;

-- What is active everywhere, with its evidence, and the epoch it was read at (both of one snapshot).
create or replace function actguard.policy_state() returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant('*');
  select jsonb_build_object('epoch', policy_epoch(), 'active',
    (select coalesce(jsonb_agg(jsonb_build_object('tenant', a.tenant, 'role', a.role, 'digest', a.digest, 'evidence', x.evidence)),
      '[]'::jsonb) from active_policies a join policy_activations x on x.id = a.activation where a.digest is not null))
$$;

-- Sets and activations for people, newest first, at most 200 each; p_tenant null: everywhere.
create or replace function actguard.list_policies(p_tenant text default null) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant(coalesce(p_tenant, '*'));
  select jsonb_build_object(
    'sets', (select coalesce(jsonb_agg(s), '[]'::jsonb) from (
      select jsonb_build_object('digest', digest, 'source', source, 'pushedBy', pushed_by, 'pushedAtMs', ms(pushed_at),
        'files', jsonb_array_length(files)) s
      from policy_sets order by pushed_at desc, digest limit 200) newest),
    'activations', (select coalesce(jsonb_agg(s), '[]'::jsonb) from (
      select jsonb_build_object('id', x.id, 'tenant', x.tenant, 'role', x.role, 'digest', x.digest, 'replaced', x.replaced,
        'people', x.people, 'reason', x.reason, 'activatedAtMs', ms(x.activated_at),
        'active', exists (select from active_policies a where a.activation = x.id and a.digest is not null)) s
      from policy_activations x where p_tenant is null or x.tenant in (p_tenant, '*') order by x.id desc limit 200) newest),
    'proposals', (select coalesce(jsonb_agg(s), '[]'::jsonb) from (
      select jsonb_build_object('tenant', q.tenant, 'digest', nullif(q.digest, ''), 'replaces', nullif(q.replaced, ''),
        'person', q.person, 'proposedAtMs', ms(q.proposed_at)) s
      from policy_proposals q where (p_tenant is null or q.tenant in (p_tenant, '*'))
        and q.proposed_at > clock_timestamp() - interval '24 hours' order by q.proposed_at desc limit 200) newest))
$$;

-- What verifying an activation needs: time, key, what is active in that scope, and who proposed the same before.
create or replace function actguard.activation_context(p_tenant text, p_role text, p_key text, p_digest text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant(p_tenant);
  select jsonb_build_object('nowMs', ms(clock_timestamp()), 'key', find_key(p_tenant, p_key),
    'active', (select digest from active_policies where tenant = p_tenant and role = p_role),
    'everywhere', (select digest from active_policies where tenant = '*' and role = p_role),
    'proposals', (select coalesce(jsonb_agg(jsonb_build_object('person', person, 'evidence', evidence) order by proposed_at), '[]'::jsonb)
      from policy_proposals where tenant = p_tenant and digest = coalesce(p_digest, '') and replaced = coalesce(
        (select digest from active_policies where tenant = p_tenant and role = p_role), '') and proposed_at > clock_timestamp() - interval '24 hours'),
    'people', (select count(distinct k.person) from keys k where k.tenant in (p_tenant, '*')
      and live_roles(k.tenant, k.person, k.key_id, k.roles) && array['operator', 'admin', '*']))
$$;

-- Whether who signed may still command: an operator or administrator now, or a root that the configuration pins.
create or replace function actguard.may_command(p jsonb) returns boolean
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  if coalesce((p->>'root')::boolean, false) then return true; end if;
  perform 1 from keys where tenant = p->>'keyTenant' and key_id = p->>'keyId' for share;
  return live_roles(p->>'keyTenant', p->>'person', p->>'keyId', array(select jsonb_array_elements_text(p->'roles')))
    && array['operator', 'admin', '*'];
end $$;

-- Activates, or proposes, by a verified command: 'ok', 'proposed', 'used', 'expired', 'role', 'moved' (something else
-- is active than what the command replaces), 'unknown' (no such set), 'second' (the other person may not any more).
create or replace function actguard.activate_policies(p jsonb) returns text
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare c command_nonces; q policy_proposals; v_active text; v_id bigint; v_digest text := p->>'digest';
begin
  perform bind_tenant(p->>'tenant');
  perform pg_advisory_xact_lock(hashtextextended('actguard:nonce:' || (p->>'tenant') || ':' || (p->>'nonce'), 0));
  select * into c from command_nonces where tenant = p->>'tenant' and nonce = p->>'nonce';
  if found then
    if c.delivery <> p->>'delivery' then return 'used'; end if;
    return case when exists (select from policy_activations x, jsonb_array_elements(x.evidence) e where x.tenant = p->>'tenant'
      and e->>'nonce' = p->>'nonce') then 'ok' else 'proposed' end;
  end if;
  if to_timestamp((p->>'expMs')::bigint / 1000.0) <= clock_timestamp() then return 'expired'; end if;
  if not may_command(p) then return 'role'; end if;
  perform pg_advisory_xact_lock(hashtextextended('actguard:control:' || (p->>'tenant'), 0));
  select digest into v_active from active_policies where tenant = p->>'tenant' and role = p->>'role';
  if v_active is distinct from p->>'replaces' then return 'moved'; end if;
  if v_digest is not null and not exists (select from policy_sets where digest = v_digest) then return 'unknown'; end if;
  if p->>'second' is not null then
    select * into q from policy_proposals where tenant = p->>'tenant' and digest = coalesce(v_digest, '')
      and replaced = coalesce(v_active, '') and person = p->>'second' and proposed_at > clock_timestamp() - interval '24 hours';
    if not found or q.person = p->>'person' or not may_command(jsonb_build_object('root', q.root, 'keyTenant', q.key_tenant,
      'keyId', q.key_id, 'person', q.person, 'roles', to_jsonb(q.roles))) then return 'second'; end if;
  end if;
  insert into command_nonces (tenant, nonce, target, person, key_id, envelope, delivery)
  values (p->>'tenant', p->>'nonce', p->>'target', p->>'person', p->>'keyId', p->'envelope', p->>'delivery');
  perform write_entries(p->'entries');
  if (p->>'propose')::boolean then
    insert into policy_proposals (tenant, digest, replaced, person, key_tenant, key_id, roles, root, evidence)
    values (p->>'tenant', coalesce(v_digest, ''), coalesce(v_active, ''), p->>'person', p->>'keyTenant', p->>'keyId',
      array(select jsonb_array_elements_text(p->'roles')), (p->>'root')::boolean, p #> '{evidence,0}')
    on conflict (tenant, digest, replaced, person) do update set evidence = excluded.evidence, proposed_at = clock_timestamp(),
      key_tenant = excluded.key_tenant, key_id = excluded.key_id, roles = excluded.roles, root = excluded.root;
    return 'proposed';
  end if;
  delete from policy_proposals where tenant = p->>'tenant' and replaced = coalesce(v_active, '');
  insert into policy_activations (tenant, role, digest, replaced, people, evidence, reason)
  values (p->>'tenant', p->>'role', v_digest, v_active, array(select jsonb_array_elements_text(p->'people')), p->'evidence',
    p->>'reason') returning id into v_id;
  insert into active_policies (tenant, role, digest, activation) values (p->>'tenant', p->>'role', v_digest, v_id)
  on conflict (tenant, role) do update set digest = excluded.digest, activation = excluded.activation;
  return 'ok';
end $$;

-- Recorded decisions with what was kept of them, oldest first, a page at a time: p = { after?, sinceMs?, tenant?, run?,
-- call?, limit? }. Of a call in a chain of asks and a start each is one.
create or replace function actguard.recorded_decisions(p jsonb) returns setof jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant(coalesce(p->>'tenant', '*'));
  select jsonb_build_object('id', e.id, 'kind', e.kind, 'tenant', e.tenant, 'run', e.run, 'call', e.call,
    'insertedAtMs', ms(e.inserted_at), 'data', convert_from(e.body, 'UTF8')::jsonb->'data', 'content', c.content)
  from entries e left join entry_contents c on c.entry_id = e.id
  where e.id > (select greatest(coalesce((p->>'after')::bigint, 0), id_before((p->>'sinceMs')::bigint))) and e.kind in ('call.started', 'call.asked', 'call.denied')
    and convert_from(e.body, 'UTF8')::jsonb->'data' ? 'requestCommitment'
    and (p->>'sinceMs' is null or e.inserted_at >= to_timestamp((p->>'sinceMs')::bigint / 1000.0))
    and (p->>'tenant' is null or e.tenant = p->>'tenant')
    and (p->>'run' is null or e.run = p->>'run')
    and (p->>'call' is null or e.call = p->>'call')
  order by e.id limit least(coalesce((p->>'limit')::int, 200), 1000)
$$;
