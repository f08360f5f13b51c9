-- Invitations: a link makes a pending passkey, an administrator's countersignature makes it count.

create or replace function actguard.invite(p jsonb) returns void
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  perform bind_tenant(p->>'tenant');
  insert into invitations (invitation, token_sha256, tenant, person, roles, mail, signer, dev, expires_at)
  values (p->>'invitation', p->>'tokenSha256', p->>'tenant', p->>'person', array(select jsonb_array_elements_text(p->'roles')),
    p->>'mail', p->>'signer', (p->>'dev')::boolean, clock_timestamp() + ms_interval((p->>'lifeMs')::bigint));
  perform write_entries(p->'entries');
end $$;

-- An invitation as its link shows it; null: there is none, it was used, revoked, or has expired.
create or replace function actguard.read_invitation(p_token text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant('*');
  select jsonb_build_object('invitation', i.invitation, 'tenant', i.tenant, 'person', i.person, 'roles', i.roles, 'signer', i.signer,
    'dev', i.dev, 'expiresAtMs', ms(i.expires_at), 'nowMs', ms(clock_timestamp()))
  from invitations i where i.token_sha256 = p_token and i.state = 'open' and i.expires_at > clock_timestamp()
$$;

-- Keeps the passkey that an invited person made: 'pending', or 'gone' when the link is not good any more.
create or replace function actguard.accept_invitation(p jsonb) returns text
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  perform bind_tenant('*');
  update invitations set state = 'pending', pending = p->'envelope', key_id = p->>'keyId'
    where token_sha256 = p->>'tokenSha256' and state = 'open' and expires_at > clock_timestamp();
  if not found then return 'gone'; end if;
  perform write_entries(p->'entries');
  return 'pending';
end $$;

-- Invitations as administrators see them, newest first, at most 200.
create or replace function actguard.list_invitations(p_tenant text) returns setof jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_tenant(coalesce(p_tenant, '*'));
  select jsonb_build_object('invitation', i.invitation, 'tenant', i.tenant, 'person', i.person, 'roles', i.roles, 'mail', i.mail,
    'signer', i.signer, 'state', case when i.state = 'open' and i.expires_at <= clock_timestamp() then 'expired' else i.state end,
    'keyId', i.key_id, 'pending', i.pending, 'invitedAtMs', ms(i.invited_at), 'expiresAtMs', ms(i.expires_at))
  from invitations i where p_tenant is null or i.tenant = p_tenant order by i.invited_at desc limit 200
$$;

-- Ends an invitation: 'confirmed' once its key was enrolled, 'revoked' at any time before.
create or replace function actguard.end_invitation(p_invitation text, p_state text) returns boolean
language plpgsql security definer set search_path = actguard, pg_temp as $$
begin
  perform bind_tenant('*');
  update invitations set state = p_state where invitation = p_invitation
    and (state = 'pending' or (p_state = 'revoked' and state = 'open'));
  return found;
end $$;

-- Revokes a key of a person; whatever it signed before and was not used yet counts no more. Answers how many keys.
create or replace function actguard.revoke_keys(p jsonb) returns integer
language plpgsql security definer set search_path = actguard, pg_temp as $$
declare v_count integer;
begin
  perform bind_tenant(p->>'tenant');
  update keys set revoked_at = clock_timestamp() where tenant = p->>'tenant' and person = p->>'person' and revoked_at is null
    and (p->>'keyId' is null or key_id = p->>'keyId');
  get diagnostics v_count = row_count;
  if v_count > 0 then perform write_entries(p->'entries'); end if;
  return v_count;
end $$;
