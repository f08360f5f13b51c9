-- Accounts: reserved in the claim, settled with the outcome, rows locked in id order, all of a call's accounts or none.

-- Micro-dollars, tokens, calls of { usdMicros, tokens, calls } as a list; null is nothing.
create or replace function actguard.amounts(p jsonb) returns bigint[]
language sql immutable set search_path = actguard, pg_temp as $$
  select array[coalesce((p->>'usdMicros')::bigint, 0), coalesce((p->>'tokens')::bigint, 0), coalesce((p->>'calls')::bigint, 0)]
$$;

create or replace function actguard.plus(a bigint[], b bigint[], p_sign int default 1) returns bigint[]
language sql immutable set search_path = actguard, pg_temp as $$
  select array[a[1] + p_sign * b[1], a[2] + p_sign * b[2], a[3] + p_sign * b[3]]
$$;

-- The window that a time lies in. A day is the local day: 23 or 25 hours long where clocks change.
create or replace function actguard.window_of(p_kind text, p_zone text, p_at timestamptz,
  out key text, out starts_at timestamptz, out ends_at timestamptz)
language plpgsql stable set search_path = actguard, pg_temp as $$
declare v_local timestamp;
begin
  if p_kind = 'total' then
    key := 'total';
    starts_at := '-infinity';
    return;
  end if;
  v_local := date_trunc(p_kind, p_at at time zone p_zone);
  key := p_kind || ':' || to_char(v_local, 'YYYY-MM-DD') || '@' || p_zone;
  starts_at := v_local at time zone p_zone;
  ends_at := (v_local + ('1 ' || p_kind)::interval) at time zone p_zone;
end $$;

-- Whether an account of this label counts for a call with that label: `report` counts for `report` and `report/search`.
create or replace function actguard.label_counts(p_account text, p_label text) returns boolean
language sql immutable set search_path = actguard, pg_temp as $$
  select coalesce(p_label = p_account or starts_with(p_label, p_account || '/'), false)
$$;

-- Reserves in all accounts of a call, or in none. Answers
--   held { held: [[account, window], ...] | null }
--   budget { scope, value, unit, limit, spent, reserved, needed, ..., wait }: refused for good, or (`wait`) only
--     others' reservations are in the way
--   frozen { freeze }.
-- The innermost scope that refuses is named; a refusal for good comes before a wait.
create or replace function actguard.reserve_accounts(p_ids text[], p_label text, p_needed jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare
  a accounts; w account_windows; v_window record; v_now timestamptz := clock_timestamp(); v_need bigint[] := amounts(p_needed);
  v_held jsonb := '[]'; v_found jsonb; v_rank int; v_best int; v_limit bigint; v_wait boolean; i int;
begin
  for a in select * from accounts where id = any(p_ids) order by id collate "C" loop
    continue when a.scope = 'label' and not label_counts(a.value, p_label);
    -- free calls run when the money is gone: only a limit of calls counts them
    continue when v_need[1] = 0 and v_need[2] = 0 and a.limits[3] is null;
    if a.frozen is not null then
      return jsonb_build_object('kind', 'frozen', 'freeze', jsonb_build_object('scope', a.scope, 'value', a.value) || a.frozen);
    end if;
    v_window := window_of(a.window_kind, a.zone, v_now);
    select * into w from account_windows where account = a.id and key = v_window.key for update;
    if not found then
      insert into account_windows (account, key, starts_at, ends_at)
      values (a.id, v_window.key, v_window.starts_at, v_window.ends_at) on conflict do nothing;
      select * into w from account_windows where account = a.id and key = v_window.key for update;
    end if;
    for i in 1..3 loop
      v_limit := a.limits[i] + w.extra[i];
      continue when v_limit is null or v_need[i] = 0 or w.spent[i] + w.reserved[i] + v_need[i] <= v_limit;
      v_wait := v_limit - w.spent[i] >= v_need[i];
      v_rank := array_position(array['label', 'user', 'agent', 'tenant'], a.scope) + case when v_wait then 10 else 0 end;
      if v_best is null or v_rank < v_best then
        v_best := v_rank;
        v_found := jsonb_build_object('kind', 'budget', 'wait', v_wait, 'account', a.id, 'scope', a.scope, 'value', a.value,
          'unit', (array['usd', 'tokens', 'calls'])[i], 'limit', v_limit, 'spent', w.spent[i], 'reserved', w.reserved[i],
          'needed', v_need[i], 'limitMicros', a.limits[1] + w.extra[1], 'spentMicros', w.spent[1],
          'reservedMicros', w.reserved[1], 'neededMicros', v_need[1], 'window', a.window_kind, 'zone', a.zone,
          'resetAtMs', ms(w.ends_at), 'nowMs', ms(clock_timestamp()));
      end if;
      exit;
    end loop;
    v_held := v_held || jsonb_build_array(jsonb_build_array(a.id, v_window.key));
  end loop;
  if v_found is not null then return v_found; end if;
  if v_held = '[]' then return jsonb_build_object('kind', 'held', 'held', null); end if;
  update account_windows x set reserved = plus(x.reserved, v_need)
    from jsonb_array_elements(v_held) h where x.account = h->>0 and x.key = h->>1;
  return jsonb_build_object('kind', 'held', 'held', v_held);
end $$;

-- The highest share of any limit that is spent: 0, 50, 80 or 100 per cent.
create or replace function actguard.mark_of(p_limits bigint[], p_extra bigint[], p_spent bigint[]) returns int
language sql immutable set search_path = actguard, pg_temp as $$
  select coalesce(max(case when 100 * u.s >= 100 * u.l then 100 when 100 * u.s >= 80 * u.l then 80 when 100 * u.s >= 50 * u.l then 50 else 0 end), 0)
  from (select unnest(p_spent) as s, unnest(plus(p_limits, p_extra)) as l) u where u.l is not null
$$;

-- Moves what a call holds: gives back p_released, takes back p_uncharged, charges p_spent. Answers the thresholds that
-- were crossed and are not recorded yet; null: none.
create or replace function actguard.settle_accounts(p_held jsonb, p_released jsonb, p_uncharged jsonb, p_spent jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare w account_windows; a accounts; v_mark int; v_marks jsonb;
begin
  for w in select x.* from account_windows x join jsonb_array_elements(p_held) h on x.account = h->>0 and x.key = h->>1
      order by x.account collate "C" for update of x loop
    update account_windows x set reserved = plus(x.reserved, amounts(p_released), -1),
        spent = plus(plus(x.spent, amounts(p_uncharged), -1), amounts(p_spent))
      where x.account = w.account and x.key = w.key returning * into w;
    select * into a from accounts where id = w.account;
    v_mark := mark_of(a.limits, w.extra, w.spent);
    if v_mark > w.reported then
      v_marks := coalesce(v_marks, '[]') || jsonb_build_object('account', a.id, 'key', w.key, 'tenant', a.tenant, 'scope', a.scope,
        'value', a.value, 'mark', v_mark, 'window', a.window_kind, 'zone', a.zone, 'limitMicros', a.limits[1] + w.extra[1],
        'spentMicros', w.spent[1], 'spentTokens', w.spent[2], 'spentCalls', w.spent[3]);
    end if;
  end loop;
  return v_marks;
end $$;

-- What a call has to give back before it is charged anew: its reservation, or what it was charged while nobody knew.
create or replace function actguard.settle_call(p_held jsonb, p_reserved jsonb, p_charged jsonb, p_spent jsonb) returns jsonb
language sql security definer set search_path = actguard, pg_temp as $$
  select settle_accounts(p_held, case when p_charged is null then p_reserved end, p_charged, p_spent)
$$;

-- A call that was charged at worst case, or still holds its reservation, is known now: what it cost replaces that.
create or replace function actguard.recharge_call(c actguard.calls, p_spent_micros jsonb) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare v_spent jsonb := jsonb_build_object('usdMicros', coalesce(p_spent_micros, '0'), 'calls', 1);
begin
  if c.accounts is null then return; end if;
  update calls set charged = v_spent where run = c.run and call = c.call;
  perform settle_call(c.accounts, c.reserved, c.charged, v_spent);
end $$;

-- Records a threshold once; false: somebody was first.
create or replace function actguard.report_mark(p jsonb) returns boolean
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  perform bind_tenant((p->>'account')::jsonb->>0);
  update account_windows set reported = (p->>'mark')::int
    where account = p->>'account' and key = p->>'key' and reported < (p->>'mark')::int;
  if not found then return false; end if;
  perform write_entries(p->'entries');
  return true;
end $$;

-- Charges calls that nobody will finish at their worst case, until their outcome is known: claims whose lease ended
-- p.graceMs ago, model calls that started p.modelMs ago. Safe to repeat; a late outcome or a resolve corrects it.
create or replace function actguard.settle_dead_calls(p jsonb) returns jsonb
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare c record; v_marks jsonb := '[]'; v_count int := 0;
begin
  perform bind_tenant('*');
  for c in select run, call, accounts, reserved from calls
      where state in ('claimed', 'retrying') and accounts is not null and charged is null
        and lease_until < clock_timestamp() - ms_interval((p->>'graceMs')::bigint)
      order by run, call limit (p->>'max')::int for update skip locked loop
    update calls set charged = c.reserved where run = c.run and call = c.call;
    v_marks := v_marks || coalesce(settle_call(c.accounts, c.reserved, null, c.reserved), '[]');
    v_count := v_count + 1;
  end loop;
  for c in select run, call, accounts, reserved from model_calls
      where state = 'started' and accounts is not null and charged is null
        and started_at < clock_timestamp() - ms_interval((p->>'modelMs')::bigint)
      order by run, call limit (p->>'max')::int for update skip locked loop
    update model_calls set charged = c.reserved where run = c.run and call = c.call;
    v_marks := v_marks || coalesce(settle_call(c.accounts, c.reserved, null, c.reserved), '[]');
    v_count := v_count + 1;
  end loop;
  return jsonb_build_object('settled', v_count, 'marks', v_marks);
end $$;

-- A run that waits for an account is told when it changes.
create or replace function actguard.wait_for_account(p_account text, p_run text, p_workflow text) returns void
language sql security definer set search_path = actguard, pg_temp as $$
  select bind_run(p_run);
  insert into account_waits (account, run, workflow_id) values (p_account, p_run, p_workflow) on conflict do nothing
$$;
