create or replace function credits.sha1(p_data bytea)
returns bytea
language plpgsql
immutable
strict
set search_path = pg_catalog, pg_temp
as $$
declare
  c_mask constant bigint := 4294967295;
  v_length constant integer := length(p_data);
  v_padded bytea := p_data || decode('80', 'hex');
  v_words bigint[] := array_fill(0::bigint, array[80]);
  v_word bigint;
  h0 bigint := 1732584193;
  h1 bigint := 4023233417;
  h2 bigint := 2562383102;
  h3 bigint := 271733878;
  h4 bigint := 3285377520;
  a bigint;
  b bigint;
  c bigint;
  d bigint;
  e bigint;
  f bigint;
  k bigint;
  v_next bigint;
begin
  v_padded := v_padded
    || decode(repeat('00', (119 - v_length % 64) % 64), 'hex')
    || int8send(v_length::bigint * 8);
  for v_block in 0 .. length(v_padded) / 64 - 1 loop
    for t in 0 .. 15 loop
      v_words[t + 1] := (get_byte(v_padded, v_block * 64 + t * 4)::bigint << 24)
        | (get_byte(v_padded, v_block * 64 + t * 4 + 1) << 16)
        | (get_byte(v_padded, v_block * 64 + t * 4 + 2) << 8)
        | get_byte(v_padded, v_block * 64 + t * 4 + 3);
    end loop;
    for t in 17 .. 80 loop
      v_word := v_words[t - 3] # v_words[t - 8] # v_words[t - 14] # v_words[t - 16];
      v_words[t] := ((v_word << 1) | (v_word >> 31)) & c_mask;
    end loop;
    a := h0;
    b := h1;
    c := h2;
    d := h3;
    e := h4;
    for t in 1 .. 80 loop
      if t <= 20 then
        f := (b & c) | ((b # c_mask) & d);
        k := 1518500249;
      elsif t <= 40 then
        f := b # c # d;
        k := 1859775393;
      elsif t <= 60 then
        f := (b & c) | (b & d) | (c & d);
        k := 2400959708;
      else
        f := b # c # d;
        k := 3395469782;
      end if;
      v_next := ((((a << 5) | (a >> 27)) & c_mask) + f + e + k + v_words[t]) & c_mask;
      e := d;
      d := c;
      c := ((b << 30) | (b >> 2)) & c_mask;
      b := a;
      a := v_next;
    end loop;
    h0 := (h0 + a) & c_mask;
    h1 := (h1 + b) & c_mask;
    h2 := (h2 + c) & c_mask;
    h3 := (h3 + d) & c_mask;
    h4 := (h4 + e) & c_mask;
  end loop;
  return decode(lpad(to_hex(h0), 8, '0') || lpad(to_hex(h1), 8, '0') || lpad(to_hex(h2), 8, '0')
    || lpad(to_hex(h3), 8, '0') || lpad(to_hex(h4), 8, '0'), 'hex');
end
$$;

comment on function credits.sha1(bytea) is
  'Internal. SHA-1, which a UUIDv5 is made of and PostgreSQL has only in an extension that not every server carries. Never for secrets.';
