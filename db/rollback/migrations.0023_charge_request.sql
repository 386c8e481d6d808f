drop type credits.charge_request cascade;
