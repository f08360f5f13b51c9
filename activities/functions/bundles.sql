-- Everything that proves an answered ask to a stranger; null: there is none.
create or replace function actguard.approval_evidence(p_approval text) returns jsonb
language sql stable security definer set search_path = actguard, pg_temp as $$
  select bind_approval(p_approval);
  select jsonb_build_object('request', convert_from(a.request, 'UTF8'), 'content', a.content,
    'state', case when a.state = 'open' and a.expires_at <= clock_timestamp() then 'expired' else a.state end,
    'answers', (select coalesce(jsonb_agg(jsonb_build_object('envelope', n.envelope,
        'answeredAt', to_char(n.answered_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'key', jsonb_build_object('envelope', k.envelope, 'chain', k.chain, 'revokedAt',
          to_char(k.revoked_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))) order by n.answered_at, n.person), '[]'::jsonb)
      from answers n join keys k on k.tenant = n.tenant and k.key_id = n.key_id where n.approval = a.approval))
  from approvals a where a.approval = p_approval
$$;
