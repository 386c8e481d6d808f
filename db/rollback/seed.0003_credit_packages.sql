-- A package that was bought stays: its purchases refer to it.
delete from credits.credit_packages k
where k.package_id in ('starter', 'growth', 'scale')
  and not exists (select from credits.credit_purchases p where p.package_id = k.package_id);
