-- How accounts come into being and change. Whoever changes one holds the tenant's control lock alone: no claim is
-- between its reservation and its commit then, so that what is counted is what there is.

-- Whether a run belongs to an account. Labels concern every run of the tenant: which calls carry them is seen per call.
create or replace function actguard.concerns(a actguard.accounts, r actguard.runs) returns boolean
language sql immutable set search_path = actguard, pg_temp as $$
  select a.tenant = r.tenant and case a.scope when 'user' then a.value = r.user_id when 'agent' then a.value = r.agent else true end
$$;

-- Counts what an account has spent and reserved in its window of now from the calls themselves, and makes open calls
-- hold it: a new account, or one with another kind of window, starts with the truth.
create or replace function actguard.recount_account(p_id text) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare a accounts; v record; v_extra bigint[]; v_spent bigint[] := '{0,0,0}'; v_reserved bigint[] := '{0,0,0}'; c record; v_held jsonb;
begin
  select * into a from accounts where id = p_id;
  v := window_of(a.window_kind, a.zone, clock_timestamp());
  update runs r set accounts = array_append(coalesce(r.accounts, '{}'), a.id)
    where r.tenant = a.tenant and r.status = 'open' and concerns(a, r) and not a.id = any(coalesce(r.accounts, '{}'));
  -- calls under way hold still: their outcomes come after this and know of the account, or came before and are counted
  perform 1 from calls k where k.tenant = a.tenant and k.state in ('claimed', 'retrying', 'unknown') order by k.run, k.call for update;
  perform 1 from model_calls m where m.state = 'started' and exists (select 1 from runs r where r.run = m.run and r.tenant = a.tenant)
    order by m.run, m.call for update of m;
  for c in
    select 'tool' as what, k.run, k.call, k.state in ('claimed', 'retrying') and k.charged is null as open, k.accounts, k.charged, k.reserved, k.state,
      jsonb_build_object('usdMicros', coalesce((k.result->>'spentMicros')::bigint, 0), 'tokens', 0, 'calls', 1) as spent
    from runs r join calls k on k.run = r.run
    where r.tenant = a.tenant and concerns(a, r) and k.claimed_at >= v.starts_at and (a.scope <> 'label' or label_counts(a.value, k.label))
    union all
    select 'model', m.run, m.call, m.state = 'started' and m.charged is null, m.accounts, m.charged, m.reserved, m.state, coalesce(m.spent, m.reserved)
    from runs r join model_calls m on m.run = r.run
    where r.tenant = a.tenant and concerns(a, r) and m.started_at >= v.starts_at and (a.scope <> 'label' or label_counts(a.value, m.label))
  loop
    if c.open then
      v_reserved := plus(v_reserved, amounts(c.reserved));
    else
      v_spent := plus(v_spent, amounts(coalesce(c.charged, c.spent)));
    end if;
    continue when not c.open and c.state not in ('unknown', 'claimed', 'retrying', 'started');
    -- its outcome is still to come: this account hears of it
    select jsonb_agg(h) into v_held from jsonb_array_elements(coalesce(c.accounts, '[]')) h where h->>0 <> a.id;
    v_held := coalesce(v_held, '[]') || jsonb_build_array(jsonb_build_array(a.id, v.key));
    if c.what = 'tool' then
      update calls k set accounts = v_held, charged = case when c.open then null else coalesce(k.charged, c.spent) end
        where k.run = c.run and k.call = c.call;
    else
      update model_calls m set accounts = v_held where m.run = c.run and m.call = c.call;
    end if;
  end loop;
  select extra into v_extra from account_windows where account = a.id and key = v.key;
  delete from account_windows where account = a.id;
  insert into account_windows (account, key, starts_at, ends_at, extra, spent, reserved, reported)
  values (a.id, v.key, v.starts_at, v.ends_at, coalesce(v_extra, '{0,0,0}'), v_spent, v_reserved,
    mark_of(a.limits, coalesce(v_extra, '{0,0,0}'), v_spent));
end $$;

-- The configured defaults of a run's accounts: made, or followed where nobody has commanded anything yet. Takes the
-- control lock only where something changes.
create or replace function actguard.ensure_accounts(p_tenant text, p_user text, p_agent text, p_seeds jsonb) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare s jsonb; v_id text; v_same boolean;
begin
  select coalesce(bool_and(a.id is not null), true) into v_same from jsonb_array_elements(p_seeds) d
    left join accounts a on a.id = d->>'id' and (a.version > 0 or (a.limits, a.window_kind, a.zone) is not distinct from
      (seed_limits(d), d->>'window', d->>'zone'));
  if v_same and not exists (select 1 from gone_accounts(p_tenant, p_user, p_agent, p_seeds)) then return; end if;
  perform pg_advisory_xact_lock(hashtextextended('actguard:control:' || p_tenant, 0));
  delete from accounts where id in (select gone_accounts(p_tenant, p_user, p_agent, p_seeds));
  for s in select value from jsonb_array_elements(p_seeds) order by value->>'id' collate "C" loop
    insert into accounts as a (id, tenant, scope, value, limits, window_kind, zone)
    values (s->>'id', p_tenant, s->>'scope', s->>'value', seed_limits(s), s->>'window', s->>'zone')
    on conflict (id) do update set limits = excluded.limits, window_kind = excluded.window_kind, zone = excluded.zone
      where a.version = 0 and (a.limits, a.window_kind, a.zone) is distinct from (excluded.limits, excluded.window_kind, excluded.zone)
    returning id into v_id;
    if found then perform recount_account(v_id); end if;
  end loop;
end $$;

create or replace function actguard.seed_limits(p jsonb) returns bigint[]
language sql immutable set search_path = actguard, pg_temp as $$
  select array[(p #>> '{limit,usdMicros}')::bigint, (p #>> '{limit,tokens}')::bigint, (p #>> '{limit,calls}')::bigint]
$$;

-- The accounts of a principal; null: none, and its claims cost nothing more. Labels are looked at per call.
create or replace function actguard.accounts_for(p_tenant text, p_user text, p_agent text) returns text[]
language sql stable security definer set search_path = actguard, pg_temp as $$
  select array_agg(id order by id collate "C") from accounts where tenant = p_tenant
    and (scope in ('tenant', 'label') or (scope = 'user' and value = p_user) or (scope = 'agent' and value = p_agent))
$$;

-- Accounts that only a default made and that the configuration does not name any more.
create or replace function actguard.gone_accounts(p_tenant text, p_user text, p_agent text, p_seeds jsonb) returns setof text
language sql stable security definer set search_path = actguard, pg_temp as $$
  select id from accounts where tenant = p_tenant and version = 0
    and ((scope = 'user' and value = p_user) or (scope = 'agent' and value = p_agent) or scope in ('tenant', 'label'))
    and not exists (select 1 from jsonb_array_elements(p_seeds) s where s->>'id' = id)
$$;

-- An account as it stands, with its window of now.
create or replace function actguard.account_of(p_id text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select jsonb_build_object('id', a.id, 'tenant', a.tenant, 'scope', a.scope, 'value', a.value,
    'limits', to_jsonb(a.limits), 'window', a.window_kind, 'zone', a.zone, 'frozen', a.frozen, 'version', a.version, 'changed', a.changed,
    'key', n.key, 'startsAtMs', case when a.window_kind = 'total' then null else ms(n.starts_at) end, 'resetAtMs', ms(n.ends_at),
    'extra', to_jsonb(coalesce(w.extra, '{0,0,0}')), 'spent', to_jsonb(coalesce(w.spent, '{0,0,0}')),
    'reserved', to_jsonb(coalesce(w.reserved, '{0,0,0}')), 'nowMs', ms(clock_timestamp()))
  from accounts a cross join lateral window_of(a.window_kind, a.zone, clock_timestamp()) n
    left join account_windows w on w.account = a.id and w.key = n.key
  where a.id = p_id
$$;

-- Carries out a verified command on an account: its nonce, its limits and its entry in one transaction. Answers
-- { kind: ok, account, waiting } | used | expired | role (the command does not count) | stale (the workflow knows an
-- older version) | zone (no such time zone) | below { account } (less than what is spent and reserved) | absent.
create or replace function actguard.change_account(p jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare a accounts; v_old accounts; v_text text; v_id text := p->>'id'; v_account jsonb; v_waiting jsonb; v record;
begin
  perform bind_tenant(p->>'tenant');
  perform pg_advisory_xact_lock(hashtextextended('actguard:control:' || (p->>'tenant'), 0));
  select * into v_old from accounts where id = v_id;
  if v_old.nonce = p->>'nonce' then
    return jsonb_build_object('kind', 'ok', 'account', account_of(v_id), 'waiting', '[]'::jsonb); -- carried out, not heard of
  end if;
  if coalesce(v_old.version, 0) <> (p->>'version')::int then
    return jsonb_build_object('kind', 'stale', 'account', account_of(v_id));
  end if;
  if v_old.id is null and p->>'verb' <> 'limit' then return jsonb_build_object('kind', 'absent'); end if;
  if p ? 'zone' and not exists (select 1 from pg_timezone_names where name = p->>'zone') then
    return jsonb_build_object('kind', 'zone');
  end if;
  begin
    v_text := use_command(p);
    if v_text <> 'ok' then return jsonb_build_object('kind', v_text); end if;
    insert into accounts (id, tenant, scope, value, limits, window_kind, zone)
      values (v_id, p->>'tenant', p->>'scope', p->>'value', seed_limits(p), p->>'window', p->>'zone')
      on conflict (id) do nothing;
    update accounts set version = (p->>'newVersion')::int, nonce = p->>'nonce', frozen = nullif(p->'frozen', 'null'), changed = p->'changed',
        limits = seed_limits(p), window_kind = p->>'window', zone = p->>'zone'
      where id = v_id returning * into a;
    v := window_of(a.window_kind, a.zone, clock_timestamp());
    if v_old.id is null or (v_old.window_kind, v_old.zone) is distinct from (a.window_kind, a.zone) then
      perform recount_account(v_id);
    else
      insert into account_windows (account, key, starts_at, ends_at) values (v_id, v.key, v.starts_at, v.ends_at) on conflict do nothing;
    end if;
    -- a top-up adds to this window; should it have turned since the workflow looked, the new one has this top-up alone
    update account_windows w set extra = case p->>'verb' when 'limit' then '{0,0,0}'
        when 'topUp' then amounts(p->(case when w.key = p->>'extraKey' then 'extra' else 'more' end)) else w.extra end
      where w.account = v_id and w.key = v.key;
    update account_windows w set reported = mark_of(a.limits, w.extra, w.spent) where w.account = v_id and w.key = v.key;
    v_account := account_of(v_id);
    if p->>'verb' = 'limit' and exists (select 1 from account_windows w cross join generate_series(1, 3) i
        where w.account = v_id and w.key = v.key and a.limits[i] + w.extra[i] < w.spent[i] + w.reserved[i]) then
      raise exception 'below' using errcode = 'AG001', detail = v_account::text;
    end if;
  exception when sqlstate 'AG001' then
    get stacked diagnostics v_text = pg_exception_detail;
    return jsonb_build_object('kind', 'below', 'account', v_text::jsonb);
  end;
  with told as (delete from account_waits where account = v_id returning workflow_id)
    select coalesce(jsonb_agg(workflow_id), '[]') into v_waiting from told;
  return jsonb_build_object('kind', 'ok', 'account', v_account, 'waiting', v_waiting);
end $$;

-- What a change starts from; null: there is no such account.
create or replace function actguard.read_account(p_id text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant(p_id::jsonb->>0);
  select account_of(p_id)
$$;

-- The accounts of a tenant (p.scope and p.value narrow it), each with
-- what is reserved by run and what was spent in the last hour.
create or replace function actguard.list_accounts(p jsonb) returns setof jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant(p->>'tenant');
  select account_of(a.id) || jsonb_build_object(
    'reservedBy', coalesce((select jsonb_agg(x order by x->>'run') from (
      select jsonb_build_object('run', o.run, 'usdMicros', sum(o.usd), 'tokens', sum(o.tokens), 'calls', count(*)) as x from (
        select k.run, (k.reserved->>'usdMicros')::bigint as usd, (k.reserved->>'tokens')::bigint as tokens from calls k
        where k.state in ('claimed', 'retrying') and k.charged is null and exists (select 1 from jsonb_array_elements(k.accounts) h where h->>0 = a.id)
        union all
        select m.run, (m.reserved->>'usdMicros')::bigint, (m.reserved->>'tokens')::bigint from model_calls m
        where m.state = 'started' and m.charged is null and exists (select 1 from jsonb_array_elements(m.accounts) h where h->>0 = a.id)) o
      group by o.run) y), '[]'::jsonb),
    'lastHourMicros', coalesce((select sum(e.usd_micros) from expenses e where e.tenant = a.tenant and e.at > clock_timestamp() - interval '1 hour'
      and case a.scope when 'user' then e.user_id = a.value when 'agent' then e.agent = a.value when 'label' then label_counts(a.value, e.label) else true end), 0))
  from accounts a
  where a.tenant = p->>'tenant' and (p->>'scope' is null or (a.scope = p->>'scope' and a.value = p->>'value'))
  order by array_position(array['tenant', 'agent', 'user', 'label'], a.scope), a.value
$$;

-- What was spent, by user, tenant, agent, tool, model, label or day (in p.zone): the dearest first, days in order.
create or replace function actguard.spend_by(p jsonb) returns setof jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant(coalesce(p->>'tenant', '*'));
  select jsonb_build_object('name', g.name, 'usdMicros', g.usd, 'tokens', g.tokens, 'calls', g.calls, 'reservedMicros', g.reserved)
  from (
    select case p->>'by' when 'user' then e.user_id when 'tenant' then e.tenant when 'agent' then e.agent when 'tool' then e.tool
        when 'model' then e.model when 'label' then e.label when 'day' then to_char(e.at at time zone (p->>'zone'), 'YYYY-MM-DD') end as name,
      sum(e.usd_micros) as usd, sum(e.tokens) as tokens, count(*) as calls, sum(e.reserved_micros) as reserved
    from expenses e
    where (p->>'tenant' is null or e.tenant = p->>'tenant') and (p->>'run' is null or e.run = p->>'run')
      and (p->>'fromMs' is null or e.at >= to_timestamp((p->>'fromMs')::bigint / 1000.0))
    group by 1) g
  where g.name is not null
  order by case when p->>'by' = 'day' then g.name end, g.usd desc, g.name
  limit least(coalesce((p->>'limit')::int, 100), 1000)
$$;
