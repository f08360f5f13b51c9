-- People, their keys and roles.

-- 'enrolled', 'again' (the same key and person) or 'taken' (another person's key, or a revoked one).
create or replace function actguard.enrol_key(p jsonb) returns text
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare k keys; v_roles text[] := array(select jsonb_array_elements_text(p->'roles'));
begin
  perform bind_tenant(p->>'tenant');
  perform pg_advisory_xact_lock(hashtextextended('actguard:key:' || (p->>'tenant') || ':' || (p->>'keyId'), 0));
  select * into k from keys where tenant = p->>'tenant' and key_id = p->>'keyId';
  if found then
    return case when k.person = p->>'person' and k.revoked_at is null then 'again' else 'taken' end;
  end if;
  insert into people (tenant, person, roles, dev) values (p->>'tenant', p->>'person', v_roles, (p->>'dev')::boolean)
  on conflict (tenant, person) do update
    set roles = array(select distinct r from unnest(people.roles || excluded.roles) r order by r);
  insert into keys (key_id, tenant, person, roles, envelope, chain, valid_from, valid_until, dev, kind, credential)
  values (p->>'keyId', p->>'tenant', p->>'person', v_roles, p->'envelope', p->'chain', (p->>'validFrom')::timestamptz,
    (p->>'validUntil')::timestamptz, (p->>'dev')::boolean, coalesce(p->>'kind', 'ed25519'), p->>'credential');
  perform write_entries(coalesce(p->'entries', '[]'::jsonb));
  return 'enrolled';
end $$;

-- A key as it counts in a tenant, as JSON; null where there is none.
create or replace function actguard.find_key(p_tenant text, p_key text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant(p_tenant);
  select jsonb_build_object('tenant', k.tenant, 'person', k.person, 'roles', k.roles, 'envelope', k.envelope,
    'chain', k.chain, 'revoked', k.revoked_at is not null, 'dev', k.dev)
  from keys k where k.key_id = p_key and k.tenant in (p_tenant, '*') order by k.tenant = p_tenant desc limit 1
$$;

-- Everybody's keys, newest first; p_tenant null: of every tenant.
create or replace function actguard.list_keys(p_tenant text default null) returns setof jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant(coalesce(p_tenant, '*'));
  select jsonb_build_object('tenant', k.tenant, 'person', k.person, 'roles', k.roles, 'keyId', k.key_id, 'kind', k.kind, 'dev', k.dev,
    'enrolledAtMs', ms(k.enrolled_at), 'revoked', k.revoked_at is not null)
  from keys k where p_tenant is null or k.tenant in (p_tenant, '*') order by k.enrolled_at desc
$$;

-- The roles of an answer that still count: signed at the answer, held by the key's row, held by the person, now.
create or replace function actguard.live_roles(p_tenant text, p_person text, p_key text, p_signed text[]) returns text[]
language sql stable security definer set search_path = actguard, pg_temp as $$
  select coalesce((
    select array(select unnest(p_signed) intersect select unnest(k.roles) intersect select unnest(p.roles))
    from keys k join people p on p.tenant = k.tenant and p.person = k.person
    where k.tenant = p_tenant and k.key_id = p_key and k.person = p_person and k.revoked_at is null
      and k.valid_from <= clock_timestamp() and (k.valid_until is null or k.valid_until > clock_timestamp())), '{}')
$$;

-- Notes a sign count; false when it betrays a copy of the key: seen before, or out of order with the time of signing.
create or replace function actguard.note_sign_count(p_tenant text, p_key text, p_count bigint, p_signed timestamptz, p_what text)
returns boolean language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  if coalesce(p_count, 0) = 0 then return true; end if;
  perform pg_advisory_xact_lock(hashtextextended('actguard:count:' || p_tenant || ':' || p_key, 0));
  if exists (select from sign_counts where tenant = p_tenant and key_id = p_key and count = p_count and what = p_what) then
    return true;
  end if;
  if exists (select from sign_counts where tenant = p_tenant and key_id = p_key
    and (count = p_count or (count > p_count and signed_at < p_signed) or (count < p_count and signed_at > p_signed))) then
    return false;
  end if;
  insert into sign_counts (tenant, key_id, count, signed_at, what) values (p_tenant, p_key, p_count, p_signed, p_what);
  return true;
end $$;

-- The groups of a user in its tenant, for policies: its roles in the directory.
create or replace function actguard.groups_of(p_tenant text, p_person text, p_max int) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant(p_tenant);
  select coalesce((select to_jsonb(p.roles[1:p_max]) from people p where p.tenant = p_tenant and p.person = p_person), '[]'::jsonb)
$$;
